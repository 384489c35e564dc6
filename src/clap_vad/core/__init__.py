"""Pure functions on arrays: no files, engines or command line in here."""
