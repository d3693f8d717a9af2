"""Tests of annotations from prompts."""
