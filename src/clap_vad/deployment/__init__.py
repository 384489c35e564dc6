"""A federation of real sites over mutual TLS: who is who, what each side keeps, whether they reach each other."""
