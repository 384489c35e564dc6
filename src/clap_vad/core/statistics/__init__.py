"""Statistics that add up over videos and sites, what may be believed of them, and random numbers with a key."""
