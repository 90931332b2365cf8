"""Our server, vLLM's own server and the engine alone: the same loads in turn, with the same engine configuration."""

import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics

from .load_order import LoadSpec
from .processes import cpu_seconds, pause, resume
from .subject import Subject
from .targets import VLLM, EngineAlone, Ours, Target

LOADS = {
    "ours": ("generate", "chat-generate", "cloud-stream", "openai-chat", "openai-chat-stream"),
    "vLLM's own": ("openai-chat", "openai-chat-stream"),
    "engine alone": ("generate", "generate-stream"),
}
"""API formats of each target."""

MIN_REQUESTS_PER_USER = 16
"""So that all users are active for most of a load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round of one load on one target.

    `cpu_seconds` is of its API process, and includes the load generator's where they are one process.
    """

    target: str
    wire: str
    users: int
    round: int
    figures: LatencyMetrics
    cpu_seconds: float
    completion_tokens: int

    @property
    def cpu_per_request(self) -> float:
        """CPU seconds per request."""
        return self.cpu_seconds / self.figures.requests

    @property
    def cpu_per_token(self) -> float:
        """CPU seconds per generated token."""
        return self.cpu_seconds / self.completion_tokens


TargetClass = type[Ours] | type[VLLM] | type[EngineAlone]


@contextmanager
def targets(
    subject: Subject, folder: Path, classes: Sequence[TargetClass] = (Ours, VLLM, EngineAlone)
) -> Iterator[list[Target]]:
    """Start the targets, one after the other so that none slows another's start; yields them paused."""
    with ExitStack() as stack:
        ready: list[Target] = []
        for target_class in classes:
            target = target_class(subject, folder)
            stack.callback(target.stop)
            target.wait()
            ready.append(target)
            pause(target.process.pid)
            # A paused process cannot exit.
            stack.callback(resume, target.process.pid)
        yield ready


async def compare(
    ready: list[Target],
    users: list[int],
    requests: int,
    max_tokens: int,
    rounds: int,
    prompt: str = "counting",
    wires: Mapping[str, Sequence[str]] = LOADS,
) -> list[Measured]:
    """Run each load on each target, interleaved; the first round is a warm-up and is not counted."""
    measured, first = [], 0
    for number, count, target in itertools.product(range(rounds + 1), users, ready):
        resume(target.process.pid)
        for wire in wires[target.name]:
            load_spec = LoadSpec(
                wire=wire,
                users=count,
                requests=max(requests, MIN_REQUESTS_PER_USER * count),
                max_tokens=max_tokens,
                prompt=prompt,
                first=first,
            )
            first += load_spec.requests
            found = await _measure(target, load_spec, number)
            if number:
                measured.append(found)
        pause(target.process.pid)
    for target in ready:
        resume(target.process.pid)
    return measured


async def _measure(target: Target, load_spec: LoadSpec, number: int) -> Measured:
    before = cpu_seconds(target.api_pid)
    figures = await target.metrics(load_spec)
    used = cpu_seconds(target.api_pid) - before
    return Measured(
        target=target.name,
        wire=load_spec.wire,
        users=load_spec.users,
        round=number,
        figures=figures,
        cpu_seconds=used,
        completion_tokens=round(figures.generated_tokens_per_second * figures.seconds),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians over the rounds, and the minimum and maximum of the requests a second."""

    target: str
    wire: str
    users: int
    requests_per_second: float
    least: float
    greatest: float
    tokens_per_second: float
    latency: float
    time_to_first_token: float | None
    inter_token: float | None
    cpu_per_request: float
    cpu_per_token: float


def rows(measured: list[Measured]) -> list[Row]:
    """One row for each target, API format and number of users."""
    groups: dict[tuple[str, str, int], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each.target, each.wire, each.users), []).append(each)
    return [_row(*key, group) for key, group in groups.items()]


def _row(target: str, wire: str, users: int, group: list[Measured]) -> Row:
    figures = [each.figures for each in group]
    rates = [each.requests_per_second for each in figures]
    first = [each.time_to_first_token.p50 for each in figures if each.time_to_first_token]
    between = [each.inter_token.p50 for each in figures if each.inter_token]
    return Row(
        target=target,
        wire=wire,
        users=users,
        requests_per_second=statistics.median(rates),
        least=min(rates),
        greatest=max(rates),
        tokens_per_second=statistics.median(each.generated_tokens_per_second for each in figures),
        latency=statistics.median(each.latency.p50 for each in figures if each.latency),
        time_to_first_token=statistics.median(first) if first else None,
        inter_token=statistics.median(between) if between else None,
        cpu_per_request=statistics.median(each.cpu_per_request for each in group),
        cpu_per_token=statistics.median(each.cpu_per_token for each in group),
    )


def as_json(measured: list[Measured]) -> list[dict[str, object]]:
    """All measurements as plain data."""
    return [dataclasses.asdict(each) for each in measured]


def front_end_ratios(table: list[Row]) -> list[tuple[str, float, str]]:
    """Each of our routes over vLLM's chat, whole or streamed, with a null engine: name, value, target."""
    by_load = {(row.target, row.wire, row.users): row for row in table}
    results = []
    for row in table:
        if row.target == Ours.name:
            theirs = by_load[VLLM.name, "openai-chat-stream" if row.time_to_first_token else "openai-chat", row.users]
            name = f"{row.wire} / vLLM's {theirs.wire}, {row.users} at once"
            results.append((f"requests/s, {name}", row.requests_per_second / theirs.requests_per_second, ">= 1"))
            results.append((f"API CPU a request, {name}", row.cpu_per_request / theirs.cpu_per_request, "<= 1"))
    return results


def ratios(table: list[Row]) -> list[tuple[str, float, str]]:
    """Performance targets, as ratios within one run: name, value, target."""
    by_load = {(row.target, row.wire, row.users): row for row in table}
    counts = sorted({row.users for row in table})
    results = []
    for users in counts:
        theirs = by_load["vLLM's own", "openai-chat", users]
        for wire, route in (("generate", "/generate"), ("chat-generate", "/chat/generate")):
            ratio = by_load["ours", wire, users].cpu_per_request / theirs.cpu_per_request
            results.append((f"API CPU a request, {route} / vLLM's chat, {users} at once", ratio, "<= 0.55"))
        streamed = by_load["vLLM's own", "openai-chat-stream", users]
        ratio = by_load["ours", "cloud-stream", users].cpu_per_token / streamed.cpu_per_token
        results.append((f"API CPU a token, cloud streamed / vLLM's chat streamed, {users} at once", ratio, "<= 0.40"))
    most = counts[-1]
    ours, alone = by_load["ours", "generate", most], by_load["engine alone", "generate", most]
    ratio = ours.requests_per_second / alone.requests_per_second
    results.append((f"requests/s, /generate / engine alone, {most} at once", ratio, ">= 0.97"))
    for wire, theirs_wire in (("chat-generate", "openai-chat"), ("cloud-stream", "openai-chat-stream")):
        ratio = (
            by_load["ours", wire, most].requests_per_second
            / by_load["vLLM's own", theirs_wire, most].requests_per_second
        )
        results.append((f"requests/s, {wire} / vLLM's {theirs_wire}, {most} at once", ratio, ">= 1.05"))
    return results
