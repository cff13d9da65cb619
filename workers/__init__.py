"""The workers: stateless functions that get a company_id and nothing else."""
