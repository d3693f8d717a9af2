"""Frozen data that methods return, and their plots."""
