"""Annotations from prompts, corrected by those that people gave."""
