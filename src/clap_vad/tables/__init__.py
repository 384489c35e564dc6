"""Decoding of text files and reading of tables that people write or edit."""
