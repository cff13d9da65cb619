"""One file per step: its function, and the table of its results."""
