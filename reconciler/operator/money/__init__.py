"""What steps cost: caps, orders, and where the money went."""
