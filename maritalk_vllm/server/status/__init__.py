"""Server state: phases, metrics, memory, and messages to systemd."""
