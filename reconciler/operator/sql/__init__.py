"""The operator's SQL statements."""
