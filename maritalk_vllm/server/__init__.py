"""The processes around the engine: states, signals and the port."""
