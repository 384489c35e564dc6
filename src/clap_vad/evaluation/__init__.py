"""Metrics of a run, baselines beside it, tables over seeds."""
