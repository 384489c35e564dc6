"""Features made here: what an extractor is, and how many videos are extracted in parallel."""
