"""Datasets: benchmarks (one file each), partition protocols, frame-level ground truth."""
