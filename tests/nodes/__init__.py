"""Two machines that are none: network namespaces of this one, with a cable between them."""
