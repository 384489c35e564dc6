"""Segment features: feature store, extractors, and importers of published features."""
