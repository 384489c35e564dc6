"""Monitoring of cameras, streams and files as they go on: stream -> scorer -> event policy -> event sinks."""
