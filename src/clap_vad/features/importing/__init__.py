"""Features made by others: which files, which axes, which formats."""
