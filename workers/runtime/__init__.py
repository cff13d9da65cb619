"""The lifecycle around a step, shared by all hosts."""
