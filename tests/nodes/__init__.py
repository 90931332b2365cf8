"""Two nodes in network namespaces of one machine, joined by a virtual network link."""
