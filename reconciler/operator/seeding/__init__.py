"""Reads a seed file, and brings its rows in as a batch."""
