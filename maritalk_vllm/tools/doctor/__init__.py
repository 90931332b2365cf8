"""Checks everything that would make a start fail."""
