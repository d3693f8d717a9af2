"""Pages for people: HTML and plain text from results, with every value escaped."""
