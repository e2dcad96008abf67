"""Networks and losses: torch modules with plain keyword arguments."""
