"""`maritalk-vllm bench`: load on a server that is running, and what it makes of it."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..settings import OPTIONS, environment_variable
from ..text_format import did_you_mean
from ..translation import translated
from . import path_options
from .progress_counter import Counter

if TYPE_CHECKING:
    from ..tools.bench.bench_client import BenchClient
    from ..tools.bench.latency_metrics import LatencyMetrics, Spread
    from ..tools.bench.load_generator import Ask
    from ..tools.bench.request_result import RequestResult

_KEY = environment_variable("api_key")


class Prompt(StrEnum):
    """What is asked."""

    COUNTING = "counting"
    REVIEW = "review"


def bench(
    url: Annotated[
        str, typer.Option(help="The server.", metavar="URL")
    ] = f"http://127.0.0.1:{OPTIONS['port'].default}",
    wire: Annotated[str, typer.Option(help="The API to ask in, and whether as a stream.", metavar="NAME")] = "generate",
    users: Annotated[
        str, typer.Option(help="Users at once, a load for each number.", metavar="N,N,...")
    ] = "1,2,4,8,16",
    rate: Annotated[
        str | None,
        typer.Option(help="Instead of users: requests a second, whenever they come (Poisson).", metavar="R,R,..."),
    ] = None,
    requests: Annotated[int, typer.Option(help="Requests of each load, and at least one a user.", min=1)] = 32,
    prompt: Annotated[
        Prompt, typer.Option(help="What is asked: a text to go on with, or a film review to classify.")
    ] = Prompt.COUNTING,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1)] = 64,
    reference: Annotated[
        bool, typer.Option("--reference", help="The public MariTalk Local benchmark instead (550 tokens in, 150 out).")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="File for all figures, as JSON.", metavar="FILE", callback=path_options.checked)
    ] = None,
) -> None:
    """Measure a running server: requests and tokens a second, time to first token, and what is in between.

    A key is taken from MARITALK_API_KEY. The load comes from this process, which needs a processor of its own.
    """
    from ..tools.bench.api_formats import WIRES
    from ..tools.bench.bench_client import BenchClient

    if wire not in WIRES:
        raise UsageError(f"There is no API {wire} to ask in.", did_you_mean(wire, WIRES))
    counts, rates = _numbers("users", users, int), _numbers("rate", rate, float) if rate else []
    if out is not None:
        _write(out)  # before all that is measured for it
    key = os.environ.get(_KEY)

    async def measure() -> dict[str, object]:
        async with BenchClient(url, {"Authorization": f"Bearer {key}"} if key else None) as client:
            if reference:
                return await _reference(client)
            return await _loads(client, wire, counts, rates, requests, prompt, max_tokens)

    measured = asyncio.run(measure())
    if out is not None:
        _write(out, json.dumps(measured, indent=1, ensure_ascii=False) + "\n")


def _write(file: Path, text: str = "") -> None:
    """Write a file, or without a text only see that this is possible. Raises UsageError."""
    try:
        with file.open("a" if not text else "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", "Choose another --out.") from error


async def _loads(
    client: "BenchClient",
    wire: str,
    users: list[float],
    rates: list[float],
    requests: int,
    prompt: Prompt,
    max_tokens: int,
) -> dict[str, object]:
    from ..tools.bench import prompts
    from ..tools.bench.api_formats import WIRES
    from ..tools.bench.latency_metrics import LatencyMetrics
    from ..tools.bench.load_generator import closed, opened
    from ..tools.bench.request_result import RequestResult

    asked, make = 0, {Prompt.COUNTING: prompts.counting, Prompt.REVIEW: prompts.review}[prompt]

    async def ask(_: int) -> RequestResult:
        nonlocal asked
        asked += 1  # no load repeats the prompts of another
        return await client.ask(WIRES[wire], make(asked), max_tokens)

    first = await ask(0)
    if first.failure:
        raise UsageError(f"The server does not answer: {first.failure}.", "Is it ready, and is its model asked for?")
    loads: list[dict[str, object]] = []
    print(" ".join(f"{translated(name):>{width}}" for name, width in _COLUMNS))
    for load in rates or users:
        name = f"{load:g}/s" if rates else translated(f"{load} users")
        total = requests if rates else max(requests, int(load))
        with Counter(name, total) as counter:
            counted = _counted(ask, counter)
            run = await (opened(counted, load, total / load) if rates else closed(counted, int(load), total))
        figures = LatencyMetrics.of(run)
        loads.append({"rate" if rates else "users": load, **asdict(figures)})
        print(_line(name, figures), flush=True)
        if figures.failed:
            print(translated(f"  {figures.failed} failed, the first: {figures.failure}"))
    return {"wire": wire, "prompt": prompt, "max_tokens": max_tokens, "loads": loads}


def _counted(ask: "Ask", counter: Counter) -> "Ask":
    async def asking(number: int) -> "RequestResult":
        outcome = await ask(number)
        counter.count()
        return outcome

    return asking


_COLUMNS = (
    ("", 10),
    ("requests/s", 10),
    ("tokens/s", 9),
    ("latency p50", 12),
    ("p95", 8),
    ("first token", 12),
    ("then each", 10),
    ("queue", 8),
    ("prompt", 8),
    ("generation", 10),
    ("outside", 8),
)
"""What `_line` has, and how wide."""


def _line(load: str, figures: "LatencyMetrics") -> str:
    def shown(spread: "Spread | None", width: int) -> str:
        return f"{_time(spread.p50) if spread else '-':>{width}}"

    return (
        f"{load:>10} {figures.requests_per_second:10.2f} {figures.generated_tokens_per_second:9.1f} "
        f"{shown(figures.latency, 12)} {_time(figures.latency.p95) if figures.latency else '-':>8} "
        f"{shown(figures.time_to_first_token, 12)} {shown(figures.inter_token, 10)} {shown(figures.queue_time, 8)} "
        f"{shown(figures.prompt_time, 8)} {shown(figures.generation_time, 10)} {shown(figures.outside, 8)}"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


async def _reference(client: "BenchClient") -> dict[str, object]:
    from ..tools.bench.reference import CONCURRENCY, PUBLISHED, REPEATS, reference

    told = "The public MariTalk Local benchmark: tokens a second, medians (550 tokens in, 150 out, temperature 3)."
    print(translated(told))
    with Counter(translated("This server"), REPEATS * sum(CONCURRENCY)) as counter:
        lines = await reference(client, counter.count)
    for title, published in {"This server": lines, **PUBLISHED}.items():
        names = (("concurrency", 12), ("generated", 10), ("total", 8), ("system", 8))
        print(f"\n{translated(title)}\n{' '.join(f'{translated(name):>{width}}' for name, width in names)}")
        for line in published:
            print(f"{line.concurrency:>12} {line.generated_tps:>10.1f} {line.total_tps:>8.1f} {line.system:>8.1f}")
    return {"reference": [asdict(line) for line in lines]}


def _numbers(name: str, text: str, kind: Callable[[str], float]) -> list[float]:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) <= 0:
        raise UsageError(f"--{name} {text} is no list of numbers over 0.", f"Write --{name} 1,8,64, for instance.")
    return numbers
