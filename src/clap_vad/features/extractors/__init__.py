"""Extractors: from videos or track files to segment features, one file each."""
