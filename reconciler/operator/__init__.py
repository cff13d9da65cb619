"""The operator's reads and actions: see batches, steer them, explain, seed, export, report."""
