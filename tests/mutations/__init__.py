"""Mutation tests of the supervisor: tests/server must notice each changed decision. `python -m tests.mutations`."""
