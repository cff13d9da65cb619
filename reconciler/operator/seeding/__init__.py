"""Reads a seed file, and seeds its rows as a batch."""
