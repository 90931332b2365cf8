"""How a model is served on this machine. Pure: no I/O."""
