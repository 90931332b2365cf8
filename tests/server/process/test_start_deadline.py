"""The time that a start may take."""

import math
from types import SimpleNamespace

import pytest

from maritalk_vllm.server.process import start_deadline
from maritalk_vllm.server.process.start_deadline import StartDeadline


def test_it_passes_while_it_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=1e6)
    monkeypatch.setattr(start_deadline, "time", SimpleNamespace(monotonic=lambda: clock.now))
    start = StartDeadline(10)
    assert start.left == math.inf
    with start.running():
        clock.now += 4
        assert start.left == 6
    clock.now += 1000
    assert start.left == math.inf
    with pytest.raises(KeyError), start.running():
        clock.now += 5
        assert start.left == 1
        raise KeyError
    with start.running():
        assert start.left == 1
        clock.now += 2
        assert start.left == -1
