"""The port while no engine serves."""
