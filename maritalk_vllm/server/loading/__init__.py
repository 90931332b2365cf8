"""The HTTP server on the port while no engine serves."""
