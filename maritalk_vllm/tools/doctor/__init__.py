"""Finds what would make a start fail."""
