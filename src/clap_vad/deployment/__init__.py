"""A federation of real sites: services that keep it going, and runs over it."""
