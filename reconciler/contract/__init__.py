"""Shared by the conductor and the workers: the schema, its verbs, and nothing else."""
