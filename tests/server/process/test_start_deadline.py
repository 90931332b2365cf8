"""The time limit of a start."""

import math
from types import SimpleNamespace

import pytest

from maritalk_vllm.server.process import start_deadline
from maritalk_vllm.server.process.start_deadline import StartDeadline


def test_time_counts_only_while_running(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1e6)
    monkeypatch.setattr(start_deadline, "time", SimpleNamespace(monotonic=lambda: clock.now))
    deadline = StartDeadline(10)
    assert deadline.seconds_left == math.inf
    with deadline.running():
        clock.now += 4
        assert deadline.seconds_left == 6
    clock.now += 1000
    assert deadline.seconds_left == math.inf
    with pytest.raises(KeyError), deadline.running():
        clock.now += 5
        assert deadline.seconds_left == 1
        raise KeyError
    with deadline.running():
        assert deadline.seconds_left == 1
        clock.now += 2
        assert deadline.seconds_left == -1
