"""Several nodes that serve one model."""
