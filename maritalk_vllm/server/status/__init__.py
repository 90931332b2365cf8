"""The state of the server: phases, metrics, memory, and messages to systemd."""
