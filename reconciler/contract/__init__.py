"""What both sides share: the schema, its verbs and nothing else."""
