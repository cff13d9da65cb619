"""Steps that do nothing, for `tracer bench`: what is left is the cost of everything around them."""

NAMES = [f"noop_{number}" for number in range(1, 10)]
