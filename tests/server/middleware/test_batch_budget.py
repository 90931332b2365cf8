"""The tokens that each API key has for its batches: apart from its others, and over several API processes."""

from contextlib import closing
from unittest.mock import patch

import pytest

from maritalk_vllm.server.messaging.shared_memory import SharedMemory
from maritalk_vllm.server.middleware import shared_usage
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.middleware.batch_budget import BatchBudget, BatchReservation
from maritalk_vllm.server.middleware.rate_limit import Usage
from maritalk_vllm.server.middleware.shared_usage import SharedUsage, size_bytes
from tests.server.middleware.conftest import Clock

A, B = hash_key("a"), hash_key("b")


def finish(line: BatchReservation, tokens: int) -> None:
    line.used += tokens
    line.settle()


def lines_within_a_minute(budget: BatchBudget, tokens: int, key: str = A) -> int:
    """How many lines of these tokens may begin, one after the other."""
    number = 0
    while budget.has_tokens(key) and number < 100:
        finish(budget.reserve(key, tokens), tokens)
        number += 1
    return number


def test_lines_use_no_tokens_of_other_requests_and_those_none_of_lines(clock: Clock) -> None:
    usage = Usage(None, 100, batch_tokens=30)
    budget = BatchBudget(usage)
    assert usage.tokens is not None
    assert lines_within_a_minute(budget, 10) == 3
    assert usage.tokens.remaining(A) == 100
    usage.tokens.charge(B, 100)
    assert lines_within_a_minute(budget, 10, B) == 3


def test_what_lines_in_flight_reserve_is_not_left_for_others(clock: Clock) -> None:
    budget = BatchBudget(Usage(None, None, batch_tokens=30))
    first = budget.reserve(A, None)
    assert (budget.has_tokens(A), budget.has_tokens(B)) == (False, True)
    finish(first, 12)
    second = budget.reserve(A, 12)
    assert budget.has_tokens(A)  # 6 are left
    third = budget.reserve(A, 12)
    assert not budget.has_tokens(A)
    finish(second, 3)
    assert budget.has_tokens(A)  # 3 are left
    finish(third, 15)
    assert not budget.has_tokens(A)


def test_what_a_line_uses_beyond_the_limit_is_deducted_from_the_next_minutes(clock: Clock) -> None:
    budget = BatchBudget(Usage(None, None, batch_tokens=30))
    finish(budget.reserve(A, None), 70)
    waits = []
    for _ in range(3):
        waits.append(not budget.has_tokens(A))
        clock.now += 60
    assert waits == [True, True, False]
    assert lines_within_a_minute(budget, 10) == 3


def test_without_a_limit_or_a_key_nothing_waits(clock: Clock) -> None:
    for budget, key in ((BatchBudget(Usage(None, 1)), A), (BatchBudget(Usage(None, None, batch_tokens=1)), "")):
        assert lines_within_a_minute(budget, 10, key) == 100


def test_a_limit_may_change_while_a_line_is_in_flight(clock: Clock) -> None:
    usage = Usage(None, None, batch_tokens=30)
    budget = BatchBudget(usage)
    line = budget.reserve(A, None)
    usage.set_limits(None, None, 50)
    assert budget.has_tokens(A)
    usage.set_limits(None, None, None)
    assert budget.has_tokens(A)
    usage.set_limits(None, None, 30)
    finish(line, 20)
    assert lines_within_a_minute(budget, 10) == 3  # of a new window: the line was charged to the one it began in


@pytest.fixture
def budgets(views: list[SharedUsage]) -> list[tuple[SharedUsage, BatchBudget]]:
    """Those of two processes."""
    return [(view, BatchBudget(Usage(10, 100, view, batch_tokens=30))) for view in views]


def test_a_process_that_goes_on_with_a_batch_knows_what_its_key_has_used(
    clock: Clock, budgets: list[tuple[SharedUsage, BatchBudget]]
) -> None:
    (view, first), (_, second) = budgets
    finish(first.reserve(A, None), 20)
    first.reserve(A, 20)  # is in flight when the process dies
    assert not second.has_tokens(A)
    view.clear()
    assert lines_within_a_minute(second, 10) == 1
    clock.now += 60
    assert lines_within_a_minute(second, 10) == 3


def test_with_too_many_keys_lines_wait(clock: Clock) -> None:
    with patch.object(shared_usage, "CAPACITY", 1), closing(SharedMemory.create(size_bytes(1))) as memory:
        budget = BatchBudget(Usage(None, None, SharedUsage(memory, memory.view, 0, 1), batch_tokens=30))
        budget.reserve(A, 1)
        assert (budget.has_tokens(A), budget.has_tokens(B)) == (True, False)
