"""Pytest adds this file's folder to Python's path, so tests can import `enrich`."""
