"""Event sinks, one file each: every module here registers what is done with events."""
