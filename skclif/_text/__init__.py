"""Texts to vectors, with a store of them."""
