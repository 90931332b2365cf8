"""Silence between heartbeats, by a clock that the test sets."""

import pytest

from maritalk_vllm.server.process.heartbeat import CHECK_SECONDS, Heartbeat


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def silence_after(*steps: float | str) -> float:
    """`steps`: the seconds until the next update, or a string for a heartbeat."""
    clock = Clock()
    heartbeat = Heartbeat(clock)
    for step in steps:
        if isinstance(step, str):
            heartbeat.beat()
        else:
            clock.seconds += step
            heartbeat.update()
    return heartbeat.silent_seconds


def test_silence_is_counted_from_the_last_heartbeat() -> None:
    assert silence_after() == 0
    assert silence_after(*[0.5] * 20) == 10
    assert silence_after(*[0.5] * 20, "beat", 0.5, 0.5) == 1
    assert silence_after(*[0.5] * 20, "beat") == 0


@pytest.mark.parametrize("seconds", [2.0, 60.0, 86_400.0])
def test_time_while_this_process_did_not_run_is_not_counted(seconds: float) -> None:
    """A machine that was suspended, or a supervisor that was busy: the other process may not have run either."""
    assert silence_after(0.5, seconds, 0.5) == 0.5 + 2 * CHECK_SECONDS + 0.5
