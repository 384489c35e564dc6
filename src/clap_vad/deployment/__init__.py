"""A federation of real sites: its services, and runs over it."""
