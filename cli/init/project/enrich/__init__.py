"""The steps of this project."""
