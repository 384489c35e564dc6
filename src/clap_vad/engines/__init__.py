"""Engines: they carry messages between the coordinator and the sites."""
