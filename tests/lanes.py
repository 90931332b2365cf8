"""Parameters of tests that run only in the nightly lane."""

import pytest
from _pytest.mark import ParameterSet


def nightly(*values: object, id: str | None = None) -> ParameterSet:
    """The values of a parametrized test's arguments, for the nightly lane only."""
    return pytest.param(*values, marks=pytest.mark.nightly, id=id)
