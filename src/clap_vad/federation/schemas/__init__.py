"""The closed list of what may leave a site, a family of schemas per file; ``messages.py`` finds them here."""
