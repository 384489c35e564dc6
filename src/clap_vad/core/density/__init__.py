"""How likely a region is: the common mixture, what adapts it to one camera, and what scores follow."""
