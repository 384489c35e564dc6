"""What hides one site's numbers: fixed point in a ring, and the secure sum over sites."""
