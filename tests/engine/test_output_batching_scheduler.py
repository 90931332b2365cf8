"""When the API process is told of tokens: on vLLM's own structures, and on the real engine by its metrics."""

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from maritalk_vllm.engine import output_batching_scheduler
from tests.serving import Server

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]


class Scripted:
    """Stands for vLLM's scheduler: each step brings the next token of each request that runs."""

    def __init__(self) -> None:
        self.requests: dict[str, Any] = {}
        self.lengths: dict[str, int] = {}
        self.tokens: dict[str, int] = defaultdict(int)
        self.events: list[Any] | None = None

    def add_request(self, request: Any) -> None:
        self.requests[request.request_id] = request

    def get_request_counts(self) -> tuple[int, int]:
        return len(self.requests), 0

    def make_stats(self, *_: Any) -> Any:
        from vllm.v1.metrics.stats import SchedulerStats

        return SchedulerStats()

    def update_from_output(self) -> dict[int, Any]:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason

        made = []
        for name in list(self.requests):
            self.tokens[name] += 1
            ends = self.tokens[name] == self.lengths[name]
            reason = FinishReason.LENGTH if ends else None
            made.append(EngineCoreOutput(name, [self.tokens[name]], finish_reason=reason, events=self.events))
            if ends:
                del self.requests[name]
        stats = self.make_stats()
        return {0: EngineCoreOutputs(outputs=made, scheduler_stats=stats)} if made or stats else {}


class Patient(output_batching_scheduler.OutputBatchingMixin, Scripted):
    """What is tested, on the script."""

    def ask(self, name: str, length: int, **sampling: Any) -> None:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        whole = sampling.pop("whole", False)
        kind = RequestOutputKind.FINAL_ONLY if whole else RequestOutputKind.DELTA
        parameters = SamplingParams(output_kind=kind, max_tokens=length, **sampling)
        self.lengths[name] = length
        self.add_request(SimpleNamespace(request_id=name, sampling_params=parameters))

    def told(self, name: str = "a") -> Iterator[list[int]]:
        """The tokens that each step tells of."""
        while self.requests:
            for outputs in self.update_from_output().values():
                yield from (list(each.new_token_ids) for each in outputs.outputs if each.request_id == name)


def test_a_whole_answer_is_told_at_its_first_token_and_at_its_last() -> None:
    patient = Patient()
    patient.ask("a", 9, whole=True)
    assert list(patient.told()) == [[1], [2, 3, 4, 5, 6, 7, 8, 9]]
    assert patient._buffers == {}


@pytest.mark.parametrize(
    ("sampling", "told"),
    [
        ({}, [[1], [2], [3], [4], [5], [6], [7]]),
        ({"stream_interval": 3}, [[1], [2, 3, 4], [5, 6, 7]]),
        ({"stream_interval": 4}, [[1], [2, 3, 4, 5], [6, 7]]),
        # The API process has to look for it in the text.
        ({"whole": True, "stop": ["x"]}, [[1], [2], [3], [4], [5], [6], [7]]),
    ],
)
def test_pieces_are_told_as_they_are_wanted(sampling: dict[str, Any], told: list[list[int]]) -> None:
    patient = Patient()
    patient.ask("a", 7, **sampling)
    assert list(patient.told()) == told


def test_a_long_answer_is_told_of_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patient = Patient()
    patient.ask("a", 9, whole=True)
    told = []
    while patient.requests:
        now += output_batching_scheduler.WHOLE_ANSWER_SECONDS / 4
        for outputs in patient.update_from_output().values():
            told += [list(each.new_token_ids) for each in outputs.outputs]
    assert told == [[1], [2, 3, 4, 5], [6, 7, 8, 9]]


def test_what_says_more_than_tokens_is_told_at_once() -> None:
    patient = Patient()
    patient.ask("a", 4, whole=True)
    patient.update_from_output()
    patient.events = ["preempted"]
    assert [list(each.new_token_ids) for each in patient.update_from_output()[0].outputs] == [[2]]
    patient.events = None
    assert list(patient.told()) == [[3, 4]]


def test_nothing_is_left_of_what_was_given_up() -> None:
    patient = Patient()
    patient.ask("a", 100, whole=True)
    for _ in range(3):
        patient.update_from_output()
    del patient.requests["a"]
    patient.tokens.clear()
    # Another of the same name begins anew.
    patient.ask("a", 3, whole=True)
    assert list(patient.told()) == [[1], [2, 3]]
    for number in range(200):
        patient.ask(str(number), 100, whole=True)
        patient.update_from_output()
        del patient.requests[str(number)]
    assert len(patient._buffers) < 50


def test_figures_are_told_now_and_then_and_when_there_is_nothing_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patient = Patient()
    patient.ask("a", 6, whole=True)
    told = []
    while patient.requests:
        now += output_batching_scheduler.STATS_SECONDS / 2.5
        told.append([outputs.scheduler_stats is not None for outputs in patient.update_from_output().values()])
    # A step that has nothing to tell at all sends no message.
    assert told == [[True], [], [], [True], [], [True]]
    patient.ask("a", 1000, whole=True)
    assert patient.make_stats() is None
    # What counts for one step cannot be told later.
    assert patient.make_stats("of this step") is not None


def test_the_engine_s_metrics_count_each_token(shared_server: Server) -> None:
    names = ("generation_tokens_total", "inter_token_latency_seconds_count", "inter_token_latency_seconds_sum")

    def figures() -> list[float]:
        text = shared_server.ask("/metrics").body.decode()
        return [float(re.search(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE)[1]) for name in names]  # type: ignore[index]

    for more in ({}, {"stream": True}, {"stop_sequences": ["never said"]}):
        before = figures()
        asked = {"prompt": "1 2 3", "max_tokens": 12, "do_sample": False, "return_usage": True, **more}
        answer = shared_server.ask("/generate", asked)
        assert answer.status == 200
        tokens, latencies, seconds = (after - first for after, first in zip(figures(), before, strict=True))
        assert (tokens, latencies) == (12, 11)
        assert 0 < seconds < 60
