"""Datasets: one file each, protocols that hand out training videos, frame truth."""
