"""Startup: what is resolved and checked before anything is loaded, and the output to the console."""
