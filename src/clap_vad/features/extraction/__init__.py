"""Feature extraction: base classes of extractors, and parallel extraction of many videos."""
