"""Known benchmarks, one file each; found by registration."""
