"""From scores to events: their start, end and place in the picture."""
