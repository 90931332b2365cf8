"""Each mutation still applies to the code, and names tests that exist."""

import ast

import pytest

from tests.mutations.table import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.why)
def test_a_mutation_can_be_made(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    assert text.count(mutation.old) == 1
    ast.parse(text.replace(mutation.old, mutation.new))
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name or 'test_'}" in (ROOT / "tests" / "server" / file).read_text()


def test_no_two_mutations_are_the_same() -> None:
    assert len({(each.file, each.old, each.new) for each in MUTATIONS}) == len({each.why for each in MUTATIONS})
    assert len(MUTATIONS) >= 12
