"""The limit and the delays of engine restarts."""

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
    ("max_restarts", "delays"),
    [
        (0, [None, None]),
        (1, [0, None, None]),
        (3, [0, 1, 5, None]),
        (6, [0, 1, 5, 10, 10, 10, None]),
    ],
)
def test_restarts_are_limited_and_delays_increase(
    clock: SimpleNamespace, max_restarts: int, delays: list[float | None]
) -> None:
    policy = RestartPolicy(max_restarts)
    for delay in delays:
        assert policy.next_delay() == delay
        # As far apart as possible within the window.
        clock.now += (WINDOW_SECONDS - 1) / len(delays)


def test_restarts_leave_the_window_one_by_one(clock: SimpleNamespace) -> None:
    policy = RestartPolicy(2)
    assert policy.next_delay() == 0
    clock.now += 100
    assert policy.next_delay() == 1
    clock.now += WINDOW_SECONDS - 101
    assert policy.next_delay() is None
    # Only the first has left the window, so the second counts as the first.
    clock.now += 1
    assert policy.next_delay() == 1
    assert policy.next_delay() is None


def test_a_denied_restart_is_not_counted(clock: SimpleNamespace) -> None:
    policy = RestartPolicy(1)
    assert policy.next_delay() == 0
    clock.now += WINDOW_SECONDS / 2
    assert policy.next_delay() is None
    clock.now += WINDOW_SECONDS / 2
    assert policy.next_delay() == 0


def test_rare_restarts_are_never_delayed(clock: SimpleNamespace) -> None:
    policy = RestartPolicy(1)
    for _ in range(50):
        assert policy.next_delay() == 0
        clock.now += WINDOW_SECONDS
