"""Limits of the input of a batch, for the server and for the command that checks a file before it is sent."""

MAX_FILE_BYTES = 200_000_000
"""Maximum size of a file, which is OpenAI's and Maritaca's for batches."""

MAX_LINES = 50_000
"""Maximum requests in a batch: OpenAI's and Maritaca's limit."""
