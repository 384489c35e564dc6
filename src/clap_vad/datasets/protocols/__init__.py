"""Partition protocols, one file each; found by registration."""
