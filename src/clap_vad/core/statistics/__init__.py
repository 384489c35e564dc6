"""Statistics that add up over videos and sites, plausibility checks, privacy accounting, and keyed random numbers."""
