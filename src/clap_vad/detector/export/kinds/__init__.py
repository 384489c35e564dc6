"""How a kind of model becomes a graph; each file registers one."""
