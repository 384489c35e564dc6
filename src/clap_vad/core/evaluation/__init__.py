"""Scores set against truth: frame-level metrics, and the alarms that an operator would have had."""
