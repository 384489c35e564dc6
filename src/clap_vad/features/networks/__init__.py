"""Networks of published features, in pure torch with the layout of their public checkpoints."""
