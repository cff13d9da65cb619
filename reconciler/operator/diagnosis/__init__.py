"""Finds the reason that a row or the whole system does not move, and the command that fixes it."""
