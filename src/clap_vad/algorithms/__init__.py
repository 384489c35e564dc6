"""Methods: what a site does and what the coordinator does with the sum, one short file each."""
