"""Changes of training rows that would help a target."""
