"""Annotation tools: their exports as rows, and decisions as tasks for people."""
