"""Models: configuration, weights files and memory footprint."""
