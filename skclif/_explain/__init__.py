"""Influence, suspects, suggestions and edits of a fitted model."""
