"""Attacks on one's own runs, from what their coordinators see."""
