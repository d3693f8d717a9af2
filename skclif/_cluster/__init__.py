"""Rows that lie on the workers of a Dask cluster, and passes over them.

Dask is imported where a Dask collection was given, and nowhere else.
"""
