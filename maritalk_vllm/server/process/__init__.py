"""The supervisor's child processes, and the messages between them."""
