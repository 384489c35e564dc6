"""Text and tables that people write or edit: one way to decode them, one way to read their columns."""
