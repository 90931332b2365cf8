"""Decisions of the supervisor, broken one at a time: the unit lane has to notice each. `python -m tests.mutations`."""
