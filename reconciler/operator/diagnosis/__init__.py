"""Why a row or the system does not move, and what would fix it."""
