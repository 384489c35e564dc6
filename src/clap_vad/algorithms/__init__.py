"""Methods: the steps of a site and of the coordinator, one short file per method."""
