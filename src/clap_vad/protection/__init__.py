"""Protection of a site's numbers: noise, fixed-point encoding, and secure aggregation."""
