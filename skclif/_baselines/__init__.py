"""Quick strong baselines: a text pipeline, and a table that compares them."""
