"""The event store: sessions, events, outages and timelines of cameras in a SQLite database."""
