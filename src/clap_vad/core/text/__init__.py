"""Text for people: names, addresses, and addresses without their logins."""
