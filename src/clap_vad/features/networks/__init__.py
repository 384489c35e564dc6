"""Networks that published features were made with: pure torch, in the layout of their public checkpoints."""
