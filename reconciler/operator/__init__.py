"""What a person at the desk reads and does."""
