"""A start: what is decided before anything is loaded, and what it prints."""
