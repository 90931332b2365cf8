"""Where the weights of a model are."""
