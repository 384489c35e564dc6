"""Attacks on what a coordinator sees, as pure functions on arrays."""
