"""What is kept and told of a stream while it is watched."""
