"""Files that are whole, arrays and tables on disk."""
