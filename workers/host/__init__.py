"""The local worker host."""
