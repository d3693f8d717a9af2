"""Edits of training rows, and the models that come of them."""
