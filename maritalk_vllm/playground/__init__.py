"""The chat page, at `/chat`."""
