"""Our server, vLLM's own server and the engine alone: the same loads in turn, with the same engine configuration."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics, Percentiles

from .load_order import LoadSpec
from .processes import CpuTimes, cpu_times, machine_times, pause, resume
from .subject import Subject
from .targets import VLLM, EngineAlone, Ours, Target, VLLMInterval

WIRES = ("generate", "chat-generate", "cloud-stream", "openai-text", "openai-chat", "openai-chat-stream")
"""API formats of both servers: vLLM's own has the routes of MariTalk by our plugin."""

LOADS = {
    Ours.name: WIRES,
    VLLM.name: WIRES,
    VLLMInterval.name: ("openai-chat-stream",),
    EngineAlone.name: ("generate", "generate-stream"),
}
"""API formats of each target."""

MIN_REQUESTS_PER_USER = 16
"""Enough that all users are active for most of a load."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Users at once, the name of their prompts (tools/bench/prompts.py), and the tokens of an answer."""

    users: int
    prompt: str = "counting"
    max_tokens: int = 32

    def __str__(self) -> str:
        return f"{self.users} at once, {self.prompt}, {self.max_tokens} tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round of one load on one target.

    `cpu` has the seconds of its processes, the API process's with the load generator's where they are one, and
    `client_cpu` those of the load generator. `gap` has the seconds between two pieces of a stream. `steal` is the share
    of the machine's processor time that its host kept back, and `others` the share that other programs used.
    """

    target: str
    wire: str
    shape: Shape
    round: int
    figures: LatencyMetrics
    gap: Percentiles | None
    cpu: CpuTimes
    client_cpu: float
    completion_tokens: int
    steal: float
    others: float

    @property
    def cpu_per_request(self) -> float:
        """CPU seconds of the API process per request."""
        return self.cpu.api / self.figures.requests

    @property
    def cpu_per_token(self) -> float:
        """CPU seconds of the API process per generated token."""
        return self.cpu.api / self.completion_tokens


TargetClass = type[Ours] | type[VLLM] | type[EngineAlone]


@contextmanager
def targets(
    subject: Subject, folder: Path, classes: Sequence[TargetClass] = (Ours, VLLM, VLLMInterval, EngineAlone)
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
    shapes: Sequence[Shape],
    requests: int,
    is_enough: Callable[[list[Measured]], bool],
    wires: Mapping[str, Sequence[str]] = LOADS,
) -> list[Measured]:
    """Run each load on each target, interleaved, in rounds until `is_enough`.

    The first round is a warm-up and is not counted.
    """
    measured: list[Measured] = []
    first = number = 0
    while not number or not is_enough(measured):
        for shape in shapes:
            for target in ready:
                resume(target.process.pid)
                for wire in wires[target.name]:
                    load_spec = LoadSpec(
                        wire=wire,
                        users=shape.users,
                        requests=max(requests, MIN_REQUESTS_PER_USER * shape.users),
                        max_tokens=shape.max_tokens,
                        prompt=shape.prompt,
                        first=first,
                    )
                    first += load_spec.requests
                    found = await measure(target, load_spec, shape, number)
                    if number:
                        measured.append(found)
                pause(target.process.pid)
        number += 1
    for target in ready:
        resume(target.process.pid)
    return measured


async def measure(target: Target, load_spec: LoadSpec, shape: Shape, number: int) -> Measured:
    """Run one load, of round `number`, on a target. Raises RuntimeError if a request fails."""
    machine, before, client = machine_times(), cpu_times(target.process.pid, target.api_pid), time.process_time()
    run = await target.checked(load_spec)
    client = time.process_time() - client
    used = cpu_times(target.process.pid, target.api_pid) - before
    passed = machine_times() - machine
    # The machine's times do not change during a load of less than 10 ms.
    total = passed.total or 1.0
    figures = LatencyMetrics.of(run)
    return Measured(
        target=target.name,
        wire=load_spec.wire,
        shape=shape,
        round=number,
        figures=figures,
        gap=Percentiles.of(later - sooner for each in run.results for sooner, later in pairwise(each.texts_at)),
        cpu=used,
        client_cpu=client,
        completion_tokens=round(figures.generated_tokens_per_second * figures.seconds),
        steal=passed.steal / total,
        others=max(0.0, passed.busy - used.api - used.others - client) / total,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians over the rounds, and the minimum and maximum of the requests a second.

    `gap_p99`: between two pieces of a stream. CPU is that of the API process, of the target's other processes and of
    the load generator.
    """

    target: str
    wire: str
    shape: Shape
    requests_per_second: float
    least: float
    greatest: float
    tokens_per_second: float
    latency: float
    time_to_first_token: float | None
    inter_token: float | None
    gap_p99: float | None
    cpu_per_request: float
    cpu_per_token: float
    other_cpu_per_request: float
    client_cpu_per_request: float


def rows(measured: list[Measured]) -> list[Row]:
    """One row for each target, API format and shape of load."""
    groups: dict[tuple[str, str, Shape], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each.target, each.wire, each.shape), []).append(each)
    return [_row(*key, group) for key, group in groups.items()]


def _row(target: str, wire: str, shape: Shape, group: list[Measured]) -> Row:
    figures = [each.figures for each in group]
    rates = [each.requests_per_second for each in figures]
    first = [each.time_to_first_token.p50 for each in figures if each.time_to_first_token]
    between = [each.inter_token.p50 for each in figures if each.inter_token]
    gaps = [each.gap.p99 for each in group if each.gap]
    return Row(
        target=target,
        wire=wire,
        shape=shape,
        requests_per_second=statistics.median(rates),
        least=min(rates),
        greatest=max(rates),
        tokens_per_second=statistics.median(each.generated_tokens_per_second for each in figures),
        latency=statistics.median(each.latency.p50 for each in figures if each.latency),
        time_to_first_token=statistics.median(first) if first else None,
        inter_token=statistics.median(between) if between else None,
        gap_p99=statistics.median(gaps) if gaps else None,
        cpu_per_request=statistics.median(each.cpu_per_request for each in group),
        cpu_per_token=statistics.median(each.cpu_per_token for each in group),
        other_cpu_per_request=statistics.median(each.cpu.others / each.figures.requests for each in group),
        client_cpu_per_request=statistics.median(each.client_cpu / each.figures.requests for each in group),
    )


def interference(measured: list[Measured]) -> str:
    """A sentence on what else ran on the machine during the loads."""
    steal, others = (
        [statistics.median(values), max(values)]
        for values in ([each.steal for each in measured], [each.others for each in measured])
    )
    return (
        f"Of all cores' time during a load, the host kept back {steal[0]:.1%} (median; at most {steal[1]:.1%}), and "
        f"other programs used {others[0]:.1%} (at most {others[1]:.1%})."
    )


def as_json(measured: list[Measured]) -> list[dict[str, object]]:
    """All measurements as plain data."""
    return [dataclasses.asdict(each) for each in measured]
