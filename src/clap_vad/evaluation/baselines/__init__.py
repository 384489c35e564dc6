"""The simplest baselines, label-free, one file each."""
