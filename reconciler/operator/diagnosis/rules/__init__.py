"""From what is known to reasons, the first of which counts. No rule reads a row or a clock."""
