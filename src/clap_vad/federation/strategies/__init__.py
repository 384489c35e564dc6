"""Aggregation strategies, one file each."""
