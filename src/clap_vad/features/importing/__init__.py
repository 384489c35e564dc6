"""Import of published features: files, axes, formats."""
