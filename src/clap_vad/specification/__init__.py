"""What a run is: every option of it, stated once, and the records that are made of the options."""
