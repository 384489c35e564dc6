"""Density of regions: the common mixture, its adaptation to one camera, and the scores derived from it."""
