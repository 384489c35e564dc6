"""Extractors, one file each: segment features from videos or track files."""
