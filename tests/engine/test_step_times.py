"""The time limit for a step of the engine."""

import logging

import pytest

from maritalk_vllm.engine.step_times import StepTimes


@pytest.mark.parametrize(
    ("steps", "limit"),
    [
        ([], 300),  # nothing was measured
        ([(0.02, 0)], 300),  # no prompt was
        ([(0.02, 2048)], 60),  # 0.2
        ([(0.02, 2048), (8.0, 0)], 80),
        ([(8.0, 0), (0.02, 2048)], 80),
        ([(40.0, 2048)], 300),  # 400
        ([(2.0, 10_000)], 60),  # a prompt in several steps: 20
        ([(0.5, 128)], 80),  # a sixteenth of the longest
        ([(0.5, 128), (0.5, 64)], 80),
        ([(0.5, 16)], 300),  # 640: a long prompt may be computed for the first time
        ([(0.5, 16), (3.0, 1024)], 60),
        ([(0.5, 16), (4.0, 1024)], 80),
    ],
)
def test_the_limit_is_derived_from_the_steps(steps: list[tuple[float, int]], limit: float) -> None:
    times = StepTimes(max_batched_tokens=2048)
    for seconds, prompt_tokens in steps:
        times.add(seconds, prompt_tokens)
    assert times.limit_seconds == pytest.approx(limit)


def test_the_limit_is_logged_when_it_changes_much(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    times = StepTimes(max_batched_tokens=2048)
    for seconds, prompt_tokens in [(0.0, 0), (0.02, 2048), (0.02, 2048), (7.0, 0), (8.9, 0), (9.1, 0)]:
        times.add(seconds, prompt_tokens)
        times.log_limit()
    assert [each.message for each in caplog.records] == [
        f"The engine counts as hung after {limit} s without a step: its longest step took {longest} s. "
        "--engine-timeout sets another limit."
        for limit, longest in [(60, "0.02"), (91, "9.10")]
    ]
