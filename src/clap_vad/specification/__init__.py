"""The run specification: every option of a run, stated once, and the records made from the options."""
