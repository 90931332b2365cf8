"""Benchmarks against a running server."""
