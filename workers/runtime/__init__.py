"""A worker process: many calls side by side, the same on Modal and on the local host."""
