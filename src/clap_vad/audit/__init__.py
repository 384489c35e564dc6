"""Attacks on runs from what their coordinators see, mounted for runs of one's own."""
