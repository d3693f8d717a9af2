"""Edits of training rows, and the models that they lead to."""
