"""The licence service: keys for many hosts, and the weights that they are for."""
