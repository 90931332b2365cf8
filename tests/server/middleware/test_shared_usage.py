"""The usage of keys over several API processes, by their views of the same memory."""

from contextlib import closing
from unittest.mock import patch

import pytest

from maritalk_vllm.errors import TooManyRequests
from maritalk_vllm.server.messaging.shared_memory import SharedMemory
from maritalk_vllm.server.middleware import shared_usage
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.middleware.rate_limit import Usage
from maritalk_vllm.server.middleware.shared_usage import SharedUsage, size_bytes
from maritalk_vllm.server.middleware.usage_window import UsageWindow
from tests.server.middleware.conftest import Clock

A, B = hash_key("a"), hash_key("b")


def windows(views: list[SharedUsage], limit: int) -> list[UsageWindow]:
    return [UsageWindow(limit, "tokens", each.windows("tokens")) for each in views]


def test_charges_and_reservations_of_one_process_count_in_the_other(views: list[SharedUsage], clock: Clock) -> None:
    first, second = windows(views, 100)
    first.charge(A, 30)
    first.reserve(A, 20)
    second.reserve(A, 10)
    assert [each.remaining(A) for each in (first, second)] == [40, 40]
    assert second.remaining(B) == 100
    second.reserve(A, -10)
    assert first.remaining(A) == 50
    clock.now += 61
    assert [each.remaining(A) for each in (first, second)] == [80, 80]  # the reservation lasts


def test_requests_and_tokens_have_windows_of_their_own(views: list[SharedUsage], clock: Clock) -> None:
    usage, other = Usage(10, 20, views[0]), Usage(10, 20, views[1])
    assert usage.requests is not None and other.requests is not None and other.tokens is not None
    usage.requests.charge(A, 4)
    assert (other.requests.remaining(A), other.tokens.remaining(A)) == (6, 20)


def test_a_process_that_dies_leaves_its_charges_and_nothing_else(views: list[SharedUsage], clock: Clock) -> None:
    first, second = windows(views, 100)
    for view, window in zip(views, (first, second), strict=True):
        view.answers[A] += 2
        window.reserve(A, 20)
        window.charge(A, 5)
    views[0].clear()
    assert (views[1].answers[A], second.remaining(A)) == (2, 70)


def test_answers_are_added_up(views: list[SharedUsage]) -> None:
    views[0].answers[A] += 2
    views[1].answers[A] += 1
    views[0].answers[A] -= 2
    assert [each.answers[A] for each in views] == [1, 1]


def test_a_new_limit_is_applied_once(views: list[SharedUsage], clock: Clock) -> None:
    """Each of the processes applies it when it learns of it."""
    first, second = windows(views, 100)
    first.charge(A, 150)
    first.set_limit(50)
    assert first.remaining(A) == -50
    second.set_limit(50)
    assert [each.remaining(A) for each in (first, second)] == [-50, -50]
    assert windows(views[:1], 50)[0].remaining(A) == -50  # in a process that is started later


def test_the_record_of_an_idle_key_is_reused(clock: Clock) -> None:
    with patch.object(shared_usage, "CAPACITY", 3), closing(SharedMemory.create(size_bytes(1))) as memory:
        view = SharedUsage(memory, memory.view, 0, 1)
        (window,) = windows([view], 10)
        keys = [hash_key(str(number)) for number in range(5)]
        for key in keys[:3]:
            window.charge(key, 4)
        with pytest.raises(TooManyRequests, match="Over 3 API keys"):
            window.charge(keys[3], 1)
        view.answers[keys[0]] += 1
        clock.now += 61
        for key in keys[3:]:
            window.charge(key, 1)
        assert [window.remaining(key) for key in keys[3:]] == [9, 9]
        assert view.answers[keys[0]] == 1
