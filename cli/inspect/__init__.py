"""`tracer inspect`: a batch once or live, or the path of one company."""
