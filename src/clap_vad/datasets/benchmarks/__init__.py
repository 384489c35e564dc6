"""Benchmarks, one file each; found by registration."""
