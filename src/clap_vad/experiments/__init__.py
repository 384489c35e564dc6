"""Tables of many runs: the cells of a comparison, the tables of a paper, the runs that fill them."""
