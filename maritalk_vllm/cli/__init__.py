"""The two console scripts."""
