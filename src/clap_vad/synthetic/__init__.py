"""Rendering of synthetic surveillance videos for the demo: four sites, people, vehicles, anomalies, frame labels."""
