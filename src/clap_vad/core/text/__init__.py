"""Text that people read: names, addresses, and addresses without their logins."""
