"""Event sinks, one file each: every module here registers one."""
