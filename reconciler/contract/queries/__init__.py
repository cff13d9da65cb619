"""Every SQL statement of Tracer: those of the tick, the workers and the seeding, and the views."""
