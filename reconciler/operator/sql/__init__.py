"""The SQL statements of the operator's verbs and reads."""
