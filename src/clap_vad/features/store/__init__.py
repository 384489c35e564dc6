"""The feature store: a memory-mapped file, its index, its writer, and passes over its rows."""
