"""When tokens are sent to the API process: with vLLM's own structures, and on the real engine by its metrics."""

import random
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


class StubScheduler:
    """Stands for vLLM's scheduler: each step generates the next token of each running request."""

    def __init__(self) -> None:
        self.requests: dict[str, Any] = {}
        self.lengths: dict[str, int] = {}
        self.tokens: dict[str, int] = defaultdict(int)
        self.events: list[Any] | None = None
        self.logprobs: Any = None

    def add_request(self, request: Any) -> None:
        self.requests[request.request_id] = request

    def get_request_counts(self) -> tuple[int, int]:
        return len(self.requests), 0

    def make_stats(self, *_: Any) -> Any:
        from vllm.v1.metrics.stats import SchedulerStats

        return SchedulerStats()

    def update_from_output(self) -> dict[int, Any]:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason

        outputs = []
        for name in list(self.requests):
            self.tokens[name] += 1
            ends = self.tokens[name] == self.lengths[name]
            reason = FinishReason.LENGTH if ends else None
            new = {"new_logprobs": self.logprobs, "events": self.events}
            outputs.append(EngineCoreOutput(name, [self.tokens[name]], finish_reason=reason, **new))
            if ends:
                del self.requests[name]
        stats = self.make_stats()
        return {0: EngineCoreOutputs(outputs=outputs, scheduler_stats=stats)} if outputs or stats else {}


class BatchingScheduler(output_batching_scheduler.OutputBatchingMixin, StubScheduler):
    """The mixin under test, on the stub."""

    def add(self, name: str, length: int, **sampling: Any) -> None:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        whole = sampling.pop("whole", False)
        kind = RequestOutputKind.FINAL_ONLY if whole else RequestOutputKind.DELTA
        parameters = SamplingParams(output_kind=kind, max_tokens=length, **sampling)
        self.lengths[name] = length
        self.add_request(SimpleNamespace(request_id=name, sampling_params=parameters))

    def sent(self, name: str = "a") -> Iterator[list[int]]:
        """The tokens of request `name` that each step sends."""
        while self.requests:
            for outputs in self.update_from_output().values():
                yield from (list(each.new_token_ids) for each in outputs.outputs if each.request_id == name)


def test_whole_answer_is_sent_at_its_first_and_last_token() -> None:
    scheduler = BatchingScheduler()
    scheduler.add("a", 9, whole=True)
    assert list(scheduler.sent()) == [[1], [2, 3, 4, 5, 6, 7, 8, 9]]
    assert scheduler._buffers == {}


@pytest.mark.parametrize(
    ("sampling", "sent"),
    [
        ({"stream_interval": 1}, [[1], [2], [3], [4], [5], [6], [7]]),
        ({"stream_interval": 3}, [[1], [2, 3, 4], [5, 6, 7]]),
        ({"stream_interval": 4}, [[1], [2, 3, 4, 5], [6, 7]]),
        # The API process has to find stop strings in the text.
        ({"whole": True, "stop": ["x"]}, [[1], [2], [3], [4], [5], [6], [7]]),
        ({"stop": ["x"]}, [[1], [2], [3], [4], [5], [6], [7]]),
    ],
)
def test_stream_interval_sets_the_pieces(sampling: dict[str, Any], sent: list[list[int]]) -> None:
    scheduler = BatchingScheduler()
    scheduler.add("a", 7, **sampling)
    assert list(scheduler.sent()) == sent


def test_long_answer_is_sent_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scheduler = BatchingScheduler()
    scheduler.add("a", 9, whole=True)
    sent = []
    while scheduler.requests:
        now += output_batching_scheduler.WHOLE_ANSWER_SECONDS / 4
        for outputs in scheduler.update_from_output().values():
            sent += [list(each.new_token_ids) for each in outputs.outputs]
    assert sent == [[1], [2, 3, 4], [5, 6, 7, 8], [9]]


@pytest.mark.parametrize(
    ("steps", "sent"),
    [
        (3, [[1], [2, 3, 4], [5, 6, 7]]),
        # Slower than a reader sees: token by token.
        (1, [[1], [2], [3], [4], [5], [6], [7]]),
        (0.5, [[1], [2], [3], [4], [5], [6], [7]]),
    ],
)
def test_fast_stream_is_sent_at_intervals(monkeypatch: pytest.MonkeyPatch, steps: float, sent: list[list[int]]) -> None:
    """`steps` of the engine are made in each interval."""
    now = 1000 * output_batching_scheduler.STREAM_SECONDS + 1e-6
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scheduler = BatchingScheduler()
    scheduler.add("a", 7)
    found = []
    while scheduler.requests:
        for outputs in scheduler.update_from_output().values():
            found += [list(each.new_token_ids) for each in outputs.outputs]
        now += output_batching_scheduler.STREAM_SECONDS / steps
    assert found == sent


def test_streams_that_started_at_different_times_are_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000 * output_batching_scheduler.STREAM_SECONDS + 1e-6
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scheduler = BatchingScheduler()
    names = []
    for name in ("a", "b", "c"):
        scheduler.add(name, 100)
        scheduler.update_from_output()
        now += output_batching_scheduler.STREAM_SECONDS / 10
    for _ in range(20):
        names.append(
            [each.request_id for outputs in scheduler.update_from_output().values() for each in outputs.outputs]
        )
        now += output_batching_scheduler.STREAM_SECONDS / 10
    assert [each for each in names if each] == [["a", "b", "c"]] * 2


def test_a_stream_sends_exactly_the_generated_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random steps, lengths and intervals: each token once and in order, the first alone, the end with its reason."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for seed in range(200):
        chance = random.Random(seed)
        scheduler = BatchingScheduler()
        length = chance.randint(1, 60)
        scheduler.add("a", length, stream_interval=chance.choice([None, None, 1, 2, 5]))
        sent = []
        while scheduler.requests:
            now += chance.choice([0.0, 0.001, 0.01, 0.1])
            scheduler.logprobs = chance.choice([None, None, "of the last token"])
            for outputs in scheduler.update_from_output().values():
                sent += outputs.outputs
        tokens = [list(each.new_token_ids) for each in sent]
        assert tokens[0] == [1]
        assert [token for each in tokens for token in each] == list(range(1, length + 1))
        assert [each.finish_reason is not None for each in sent] == [False] * (len(sent) - 1) + [True]


@pytest.mark.parametrize("name", ["events", "logprobs"])
def test_output_with_more_than_tokens_is_sent_at_once(name: str) -> None:
    scheduler = BatchingScheduler()
    scheduler.add("a", 4, whole=True)
    scheduler.update_from_output()
    setattr(scheduler, name, ["of this token"])
    assert [list(each.new_token_ids) for each in scheduler.update_from_output()[0].outputs] == [[2]]
    setattr(scheduler, name, None)
    assert list(scheduler.sent()) == [[3, 4]]


def test_buffers_of_aborted_requests_are_dropped() -> None:
    scheduler = BatchingScheduler()
    scheduler.add("a", 100, whole=True)
    for _ in range(3):
        scheduler.update_from_output()
    del scheduler.requests["a"]
    scheduler.tokens.clear()
    # A new request with the same id starts with an empty buffer.
    scheduler.add("a", 3, whole=True)
    assert list(scheduler.sent()) == [[1], [2, 3]]
    for number in range(200):
        scheduler.add(str(number), 100, whole=True)
        scheduler.update_from_output()
        del scheduler.requests[str(number)]
    assert len(scheduler._buffers) < 50


def test_statistics_are_sent_at_intervals_and_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scheduler = BatchingScheduler()
    scheduler.add("a", 6, whole=True)
    sent = []
    while scheduler.requests:
        now += output_batching_scheduler.STATS_SECONDS / 2.5
        sent.append([outputs.scheduler_stats is not None for outputs in scheduler.update_from_output().values()])
    # A step without content sends no message.
    assert sent == [[True], [], [], [True], [], [True]]
    scheduler.add("a", 1000, whole=True)
    assert scheduler.make_stats() is None
    # Statistics of a step are never dropped.
    assert scheduler.make_stats("of this step") is not None


def test_engine_metrics_count_each_token(shared_server: Server) -> None:
    names = ("generation_tokens_total", "inter_token_latency_seconds_count", "inter_token_latency_seconds_sum")

    def read_metrics() -> list[float]:
        text = shared_server.ask("/metrics").body.decode()
        return [float(re.search(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE)[1]) for name in names]  # type: ignore[index]

    for more in ({}, {"stream": True}, {"stop_sequences": ["never said"]}):
        before = read_metrics()
        body = {"prompt": "1 2 3", "max_tokens": 12, "do_sample": False, "return_usage": True, **more}
        answer = shared_server.ask("/generate", body)
        assert answer.status == 200
        tokens, latencies, seconds = (after - first for after, first in zip(read_metrics(), before, strict=True))
        assert (tokens, latencies) == (12, 11)
        assert 0 < seconds < 60
