"""The processes below the supervisor, and how they talk."""
