"""A batch beside interactive requests: how long these wait for their first token, and how fast the batch is alone."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from maritalk_vllm.batches import line_window
from maritalk_vllm.tools.batch import batch_file
from maritalk_vllm.tools.batch.batch_client import BatchClient
from maritalk_vllm.tools.batch.batch_object import Batch
from maritalk_vllm.tools.bench import prompts
from maritalk_vllm.tools.bench.api_formats import API_FORMATS
from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics, Percentiles
from maritalk_vllm.tools.server_address import ServerAddress

from .load_order import LoadSpec
from .processes import pause, resume
from .subject import Subject
from .targets import Ours, RunBatch

_LINE = API_FORMATS["openai-chat"]
"""The only API of ours that `vllm run-batch` has too."""

_WIRE = "openai-chat-stream"
_FULL_BATCH_LINES = 20_000
"""More than a server computes beside the longest load; the rest is cancelled."""

_LEAD_IN = 8
"""Requests of each user before those that count: lines that began while the server was idle end meanwhile."""

_IDLE_SECONDS = line_window.QUIET_SECONDS + 1
"""Time without interactive requests after which a batch takes the whole server."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractiveLoad:
    """One load of interactive requests. Seconds to the first token; `lines_per_second` of the batch meanwhile."""

    batch: bool
    round: int
    requests_per_second: float
    p50: float
    p95: float
    lines_per_second: float
    first_tokens: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTime:
    """A batch with nothing beside it, from its creation to the last result in its file."""

    target: str
    round: int
    lines: int
    seconds: float
    lines_per_second: float


@contextmanager
def servers(subject: Subject, folder: Path) -> Iterator[tuple[Ours, RunBatch]]:
    """Start our server, and then `vllm run-batch`, which is paused when it is yielded."""
    with ExitStack() as stack:
        ours = Ours(subject, folder)
        stack.callback(ours.stop)
        ours.wait()
        run_batch = RunBatch(subject, folder)
        stack.callback(run_batch.stop)
        run_batch.wait()
        pause(run_batch.process.pid)
        for each in (ours, run_batch):
            stack.callback(resume, each.process.pid)  # a paused process cannot exit
        yield ours, run_batch


class Measurement:
    """Both servers, of which one at a time is not paused, and the next unused prompts."""

    def __init__(self, ours: Ours, run_batch: RunBatch, folder: Path, max_tokens: int) -> None:
        self._ours = ours
        self._run_batch = run_batch
        self._folder = folder
        self._max_tokens = max_tokens
        self._first_prompt = 0
        self._first_line = 1_000_000

    async def load(self, users: int, requests: int, number: int, *, beside_batch: bool) -> InteractiveLoad:
        """Run interactive requests, alone or beside a batch that outlasts them."""
        lead_in, spec = (self._load_spec(users, count) for count in (_LEAD_IN * users, requests))
        with BatchClient(ServerAddress(url=self._ours.url)) as client:
            batch = await self._full_batch(client) if beside_batch else None
            await self._ours.checked(lead_in)
            before = 0 if batch is None else (await asyncio.to_thread(client.retrieve, batch.id)).completed
            run = await self._ours.checked(spec)
            lines = 0
            if batch is not None:
                batch = await _until_final(client, await asyncio.to_thread(client.cancel, batch.id))
                lines = batch.completed - before
        times = tuple(each.texts_at[0] - each.began for each in run.results if each.texts_at)
        percentiles = Percentiles.of(times)
        assert percentiles is not None
        return InteractiveLoad(
            batch=beside_batch,
            round=number,
            requests_per_second=LatencyMetrics.of(run).requests_per_second,
            p50=percentiles.p50,
            p95=percentiles.p95,
            lines_per_second=lines / run.seconds,
            first_tokens=times,
        )

    async def throughput(self, lines: int, number: int) -> list[BatchTime]:
        """Process the same file with both, one after the other."""
        requests = self._file(lines)
        await asyncio.sleep(_IDLE_SECONDS)
        with BatchClient(ServerAddress(url=self._ours.url)) as client:
            file_id = await _upload(client, requests)
            began = time.monotonic()
            batch = await _until_final(client, await asyncio.to_thread(client.create, file_id, _LINE.path))
            ours = time.monotonic() - began
        if not batch.has_succeeded:
            raise RuntimeError(f"The batch is {batch.status}, with {batch.failed} failed requests.")
        pause(self._ours.process.pid)
        resume(self._run_batch.process.pid)
        try:
            theirs = await asyncio.to_thread(self._run_batch.run, requests, self._folder / "results.jsonl")
        finally:
            pause(self._run_batch.process.pid)
            resume(self._ours.process.pid)
        return [
            BatchTime(target=name, round=number, lines=lines, seconds=seconds, lines_per_second=lines / seconds)
            for name, seconds in ((self._ours.name, ours), (self._run_batch.name, theirs))
        ]

    async def _full_batch(self, client: BatchClient) -> Batch:
        """A batch that takes the whole server."""
        file_id = await _upload(client, self._file(_FULL_BATCH_LINES))
        batch = await asyncio.to_thread(client.create, file_id, _LINE.path)
        while not batch.completed:
            if batch.is_final:
                raise RuntimeError(f"The batch is {batch.status}.")
            await asyncio.sleep(_POLL_SECONDS)
            batch = await asyncio.to_thread(client.retrieve, batch.id)
        await asyncio.sleep(_IDLE_SECONDS)
        return batch

    def _load_spec(self, users: int, requests: int) -> LoadSpec:
        """A load with prompts that no other has."""
        first = self._first_prompt
        self._first_prompt += requests
        return LoadSpec(wire=_WIRE, users=users, requests=requests, max_tokens=self._max_tokens, first=first)

    def _file(self, lines: int) -> Path:
        """A new file of requests, with no prompt twice."""
        path = self._folder / "requests.jsonl"
        with path.open("w") as file:
            for number in range(self._first_line, self._first_line + lines):
                body = _LINE.body(prompts.counting(number), self._max_tokens)
                request = {"custom_id": str(number), "method": "POST", "url": _LINE.path, "body": body}
                file.write(json.dumps(request) + "\n")
        self._first_line += lines
        return path


async def _upload(client: BatchClient, requests: Path) -> str:
    return await asyncio.to_thread(client.upload, batch_file.check(requests), lambda *_: None)


async def _until_final(client: BatchClient, batch: Batch) -> Batch:
    while not batch.is_final:
        await asyncio.sleep(_POLL_SECONDS)
        batch = await asyncio.to_thread(client.retrieve, batch.id)
    return batch


async def measure(
    measurement: Measurement, users: int, requests: int, lines: int, rounds: int
) -> tuple[list[InteractiveLoad], list[BatchTime]]:
    """Interleave all loads, for `rounds` and one before them that does not count."""
    loads: list[InteractiveLoad] = []
    times: list[BatchTime] = []
    for number in range(rounds + 1):
        for beside_batch in (False, True) if number % 2 else (True, False):
            loads.append(await measurement.load(users, requests, number, beside_batch=beside_batch))
        times += await measurement.throughput(lines, number)
    return [each for each in loads if each.round], [each for each in times if each.round]


def ratios(loads: list[InteractiveLoad], times: list[BatchTime]) -> list[tuple[str, float, str]]:
    """Performance targets: name, value, target. Percentiles are over the requests of all rounds."""
    beside, alone = (
        Percentiles.of(time for each in loads if each.batch is batch for time in each.first_tokens)
        for batch in (True, False)
    )
    assert beside is not None and alone is not None
    ours, theirs = (
        sum(each.seconds for each in times if each.target == target_class.name) for target_class in (Ours, RunBatch)
    )
    return [
        ("time to first token beside a batch / without one, p95", beside.p95 / alone.p95, "<= 1.1"),
        ("the same, median", beside.p50 / alone.p50, ""),
        ("lines/s of a batch / vllm run-batch", theirs / ours, ">= 0.95"),
    ]
