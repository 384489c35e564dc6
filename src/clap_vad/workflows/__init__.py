"""What each command does: read files, call the rooms, write files."""
