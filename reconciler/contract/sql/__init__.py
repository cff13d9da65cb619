"""The SQL statements of the tick, the loop and the workers."""
