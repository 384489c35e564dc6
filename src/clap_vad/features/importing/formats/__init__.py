"""Importers of foreign feature layouts, one file each."""
