"""From what is known to reasons. No rule reads a row or a clock."""
