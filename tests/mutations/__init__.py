"""Mutation tests of the supervisor: the unit lane must notice each changed decision. `python -m tests.mutations`."""
