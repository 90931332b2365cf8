"""The supervisor, its child processes, and the HTTP layer around the engine."""
