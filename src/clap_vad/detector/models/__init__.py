"""Kinds of models, one per file."""
