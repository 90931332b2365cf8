"""Find, download and install the weights of a model."""
