"""ASGI middleware around the application, one layer per module."""
