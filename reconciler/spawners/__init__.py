"""The spawners: how the tick sends calls to workers."""
