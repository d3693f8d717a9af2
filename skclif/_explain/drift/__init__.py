"""Drift: which part of a model no longer fits new rows, and what can be done."""
