"""The page to chat in, at `/chat`."""
