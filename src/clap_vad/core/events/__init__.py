"""From scores to events: when they begin and end, where in the picture, at which second."""
