"""Records only: what everything is called, and what it is made of."""
