"""The HTML report on a batch."""
