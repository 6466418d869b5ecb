"""How new events reach all members at once."""
