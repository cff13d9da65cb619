"""`tracer init`: the command, and the files of the project that it writes."""
