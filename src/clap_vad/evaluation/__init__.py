"""Metrics of runs, baselines, and tables over seeds."""
