"""Measurements of the extractors ``motion`` and ``tracks`` in a segment."""
