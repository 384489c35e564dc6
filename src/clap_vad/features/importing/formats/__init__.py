"""Importers of published feature layouts, one file each."""
