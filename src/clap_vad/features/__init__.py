"""Segment features: the store, importers of foreign layouts, and extractors."""
