"""Export of each kind of model, one per file."""
