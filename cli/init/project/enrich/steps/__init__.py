"""One file per step: the work, and the table of its results."""
