"""Pseudo-labels from features alone: magnitudes, summaries of videos, mixtures, windows."""
