"""Who is probably anomalous, from features alone: magnitudes, summaries of videos, mixtures, windows."""
