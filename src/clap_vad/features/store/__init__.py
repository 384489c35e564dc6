"""The feature store: one memory-mapped file, its index, its writer, passes over its rows."""
