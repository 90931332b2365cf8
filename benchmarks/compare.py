"""Ours, vLLM's own server and the engine alone, in turn, round after round, on the same engine configuration."""

import dataclasses
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics

from .load_order import Order
from .processes import cpu_seconds, pause, resume
from .subject import Subject
from .targets import VLLM, EngineAlone, Ours, Target

LOADS = {
    "ours": ("generate", "chat-generate", "cloud-stream", "openai-chat", "openai-chat-stream"),
    "vLLM's own": ("openai-chat", "openai-chat-stream"),
    "engine alone": ("generate", "generate-stream"),
}
"""Which APIs each target is asked in."""

LEAST_A_USER = 16
"""Requests, so that most of a load has all of its users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load on one target, once. `cpu_seconds` of its API process, its load's included where it is in the same."""

    target: str
    wire: str
    users: int
    round: int
    figures: LatencyMetrics
    cpu_seconds: float
    completion_tokens: int

    @property
    def cpu_per_request(self) -> float:
        """Seconds."""
        return self.cpu_seconds / self.figures.requests

    @property
    def cpu_per_token(self) -> float:
        """Seconds."""
        return self.cpu_seconds / self.completion_tokens


@contextmanager
def targets(subject: Subject, folder: Path) -> Iterator[list[Target]]:
    """The three, ready. They are started one after the other, so that none slows another's start."""
    with ExitStack() as stack:
        ready: list[Target] = []
        for kind in (Ours, VLLM, EngineAlone):
            target = kind(subject, folder)
            stack.callback(target.stop)
            target.wait()
            ready.append(target)
            pause(target.process.pid)
            # What is stopped cannot end.
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
    """Each target under each load, interleaved; the first round is not counted."""
    measured, first = [], 0
    for number, count, target in itertools.product(range(rounds + 1), users, ready):
        resume(target.process.pid)
        for wire in wires[target.name]:
            order = Order(
                wire=wire,
                users=count,
                requests=max(requests, LEAST_A_USER * count),
                max_tokens=max_tokens,
                prompt=prompt,
                first=first,
            )
            first += order.requests
            found = await _measure(target, order, number)
            if number:
                measured.append(found)
        pause(target.process.pid)
    for target in ready:
        resume(target.process.pid)
    return measured


async def _measure(target: Target, order: Order, number: int) -> Measured:
    before = cpu_seconds(target.api_pid)
    figures = await target.figures(order)
    used = cpu_seconds(target.api_pid) - before
    return Measured(
        target=target.name,
        wire=order.wire,
        users=order.users,
        round=number,
        figures=figures,
        cpu_seconds=used,
        completion_tokens=round(figures.generated_tokens_per_second * figures.seconds),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians of the rounds, with the least and the greatest of the requests a second."""

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
    """One for each target, API and number of users."""
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
    """Everything that was measured."""
    return [dataclasses.asdict(each) for each in measured]


def ratios(table: list[Row]) -> list[tuple[str, float, str]]:
    """What we hold ourselves to, each a ratio within this one run: its name, its value, its target."""
    by = {(row.target, row.wire, row.users): row for row in table}
    counts = sorted({row.users for row in table})
    found = []
    for users in counts:
        theirs = by["vLLM's own", "openai-chat", users]
        for wire, route in (("generate", "/generate"), ("chat-generate", "/chat/generate")):
            ratio = by["ours", wire, users].cpu_per_request / theirs.cpu_per_request
            found.append((f"API CPU a request, {route} / vLLM's chat, {users} at once", ratio, "<= 0.55"))
        streamed = by["vLLM's own", "openai-chat-stream", users]
        ratio = by["ours", "cloud-stream", users].cpu_per_token / streamed.cpu_per_token
        found.append((f"API CPU a token, cloud streamed / vLLM's chat streamed, {users} at once", ratio, "<= 0.40"))
    most = counts[-1]
    ours, alone = by["ours", "generate", most], by["engine alone", "generate", most]
    ratio = ours.requests_per_second / alone.requests_per_second
    found.append((f"requests/s, /generate / engine alone, {most} at once", ratio, ">= 0.97"))
    for wire, theirs_wire in (("chat-generate", "openai-chat"), ("cloud-stream", "openai-chat-stream")):
        ratio = by["ours", wire, most].requests_per_second / by["vLLM's own", theirs_wire, most].requests_per_second
        found.append((f"requests/s, {wire} / vLLM's {theirs_wire}, {most} at once", ratio, ">= 1.05"))
    return found
