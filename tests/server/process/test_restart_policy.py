"""How often and how soon the engine is started again."""

from types import SimpleNamespace

import pytest

from maritalk_vllm.server.process import restart_policy
from maritalk_vllm.server.process.restart_policy import WINDOW_SECONDS, RestartPolicy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1e6)
    monkeypatch.setattr(restart_policy, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.mark.parametrize(
    ("most", "pauses"),
    [
        (0, [None, None]),
        (1, [0, None, None]),
        (3, [0, 1, 5, None]),
        (6, [0, 1, 5, 10, 10, 10, None]),
    ],
)
def test_at_most_so_many_each_after_a_longer_pause(
    clock: SimpleNamespace, most: int, pauses: list[float | None]
) -> None:
    some = RestartPolicy(most)
    for pause in pauses:
        assert some.next_delay() == pause
        # As far apart as they can be, all within the window.
        clock.now += (WINDOW_SECONDS - 1) / len(pauses)


def test_old_ones_are_forgotten_one_by_one(clock: SimpleNamespace) -> None:
    some = RestartPolicy(2)
    assert some.next_delay() == 0
    clock.now += 100
    assert some.next_delay() == 1
    clock.now += WINDOW_SECONDS - 101
    assert some.next_delay() is None
    # The first is ten minutes old, the second is not: as if it were the first.
    clock.now += 1
    assert some.next_delay() == 1
    assert some.next_delay() is None


def test_one_that_was_not_allowed_does_not_count(clock: SimpleNamespace) -> None:
    some = RestartPolicy(1)
    assert some.next_delay() == 0
    clock.now += WINDOW_SECONDS / 2
    assert some.next_delay() is None
    clock.now += WINDOW_SECONDS / 2
    assert some.next_delay() == 0


def test_an_engine_that_dies_now_and_then_is_started_again_at_once_each_time(clock: SimpleNamespace) -> None:
    some = RestartPolicy(1)
    for _ in range(50):
        assert some.next_delay() == 0
        clock.now += WINDOW_SECONDS
