"""Rendering the demo's own surveillance videos: four sites, people, vehicles, anomalies and their truth."""
