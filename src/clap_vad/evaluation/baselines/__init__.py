"""Simple label-free baselines, one file each."""
