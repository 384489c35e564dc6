"""Tables of many runs: comparisons, the tables of a paper, and their runs."""
