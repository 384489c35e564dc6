"""Attacks by a malicious coordinator on the messages it receives, as pure functions on arrays."""
