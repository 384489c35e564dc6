"""Scores compared with ground truth: frame-level metrics and alarm metrics."""
