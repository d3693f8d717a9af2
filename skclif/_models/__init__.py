"""Estimators, linear models in their terms, and their files."""
