"""`tracer inspect`: a batch, once or live; or one company."""
