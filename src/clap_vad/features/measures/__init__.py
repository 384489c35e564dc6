"""What extractors of tracks and motion measure in a segment."""
