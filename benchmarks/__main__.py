"""What is measured side by side: ours, vLLM's own server, and the engine with no server. Results go into a folder."""

import asyncio
import signal
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from maritalk_vllm.settings import Device

from . import capacity as foretelling
from . import card as cards
from . import compare as comparison
from . import jobs as work
from . import knee as climbing
from . import loading, pictures, results
from . import start as starting
from .models import subject
from .targets import VLLM, Ours

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

_MODEL = typer.Option(help="demo, one-layer, sharded, shapes/small, shapes/medium, or a folder.")
_DEVICE = typer.Option(help="What runs it.")
_OUT = typer.Option(help="Folder for what was measured.")
_USERS = typer.Option(help="Users at once, one load for each number.")
_REQUESTS = typer.Option(help="Requests of each load, and at least 16 a user.")
_TOKENS = typer.Option(help="Tokens of each answer.")
_ROUNDS = typer.Option(help="Rounds that count; one before them does not.")
_RESULTS = Path("benchmarks/results")


@contextmanager
def _aside() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


@app.command()
def compare(
    model: Annotated[str, _MODEL] = "one-layer",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    users: Annotated[str, _USERS] = "1,8,64",
    requests: Annotated[int, _REQUESTS] = 64,
    max_tokens: Annotated[int, _TOKENS] = 32,
    rounds: Annotated[int, _ROUNDS] = 5,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Requests a second and processor time, under the same loads, in turn."""
    with _aside() as aside, comparison.targets(subject(model, device), aside) as ready:
        measured = asyncio.run(comparison.compare(ready, _numbers(users), requests, max_tokens, rounds))
    table = comparison.rows(measured)
    title = f"{model}, {max_tokens} tokens an answer, {rounds} rounds"
    lines = [*results.table(table), "", *results.ratios(comparison.ratios(table))]
    results.write(out, name := f"compare-{_plain(model)}", title, comparison.as_json(measured), lines)
    pictures.rates(out / f"{name}-rate.png", title, table)
    pictures.processor(out / f"{name}-cpu.png", title, table)


@app.command()
def knee(
    model: Annotated[str, _MODEL] = "one-layer",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    requests: Annotated[int, _REQUESTS] = 512,
    max_tokens: Annotated[int, _TOKENS] = 32,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Requests that come independently, more and more a second, until a server does not keep up."""
    arrivals: list[climbing.Arrivals] = []
    rates: list[float] = []
    for kind, wire in ((Ours, "cloud-stream"), (VLLM, "openai-chat-stream")):
        with _aside() as aside:
            target = kind(subject(model, device), aside)
            try:
                target.wait()
                if not rates:
                    fastest = asyncio.run(climbing.most(target, wire, requests, max_tokens))
                    rates = [share * fastest for share in climbing.SHARES]
                arrivals += asyncio.run(climbing.climb(target, wire, rates, requests, max_tokens))
            finally:
                target.stop()
    ours, theirs = (climbing.knee([each for each in arrivals if each.target == kind.name]) for kind in (Ours, VLLM))
    title = f"{model}, {max_tokens} tokens an answer, {requests} requests at each rate"
    lines = [*results.table(arrivals), "", f"Keeps up to {ours:.1f} requests/s; vLLM's own to {theirs:.1f}."]
    results.write(out, name := f"knee-{_plain(model)}", title, [asdict(each) for each in arrivals], lines)
    pictures.knee(out / f"{name}.png", title, arrivals)


@app.command()
def jobs(
    model: Annotated[str, _MODEL] = "demo",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    users: Annotated[str, _USERS] = "1,8,64",
    reviews: Annotated[int, typer.Option(help="Reviews to classify.")] = 320,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """The public MariTalk Local benchmark, and its few-shot example as a bulk job."""
    bulk: list[work.Bulk] = []
    published: list[work.Published] = []
    for kind in (Ours, VLLM):
        with _aside() as aside:
            target = kind(subject(model, device), aside)
            try:
                target.wait()
                if isinstance(target, Ours):
                    published = asyncio.run(work.published(target))
                bulk += asyncio.run(work.classify(target, _numbers(users), reviews))
            finally:
                target.stop()
    title = f"{model}: MariTalk Local's public benchmark, and {reviews} reviews to classify"
    measured = {"published": [asdict(each) for each in published], "bulk": [asdict(each) for each in bulk]}
    lines = [*results.table(published), "", *results.table(bulk)]
    results.write(out, name := f"jobs-{_plain(model)}", title, measured, lines)
    pictures.published(
        out / f"{name}.png", f"{model}: MariTalk Local's public benchmark, all users together", published
    )


@app.command()
def start(
    model: Annotated[str, _MODEL] = "demo",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    rounds: Annotated[int, typer.Option(help="Starts of each; one before them warms the file cache.")] = 5,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """From exec to the first answer, memory at rest, and back from a dead engine."""
    starts: list[starting.Start] = []
    for number in range(rounds + 1):
        for kind in (Ours, VLLM):
            with _aside() as aside:
                measured = starting.measure(kind, subject(model, device), aside)
            if number:
                starts.append(measured)
    ours, theirs = (_median([each for each in starts if each.target == kind.name]) for kind in (Ours, VLLM))
    title = f"Starts with {model}, warm file cache, medians of {rounds}"
    lines = [*results.table([ours, theirs]), "", *results.ratios(starting.ratios(ours, theirs))]
    for each in (ours, theirs):
        lines += ["", f"The processes of {each.target}, at rest:", "", *results.table(each.processes)]
    results.write(out, name := f"start-{_plain(model)}", title, [asdict(each) for each in starts], lines)
    pictures.start(out / f"{name}.png", title, ours, theirs)


@app.command()
def load(
    model: Annotated[str, _MODEL] = "sharded",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Host memory while a checkpoint of several files is loaded."""
    loads = []
    for kind in (Ours, VLLM):
        with _aside() as aside:
            loads.append(loading.measure(kind, subject(model, device), aside))
    ratio = ("peak anonymous memory while loading / weights", loads[0].peak / loads[0].weights, "<= 1.15")
    lines = [*results.table(loads), "", *results.ratios([ratio])]
    results.write(out, f"load-{_plain(model)}", f"Loading {model}", [asdict(each) for each in loads], lines)


@app.command()
def card(
    model: Annotated[str, _MODEL] = "shapes/small",
    device: Annotated[Device, _DEVICE] = Device.CUDA,
    users: Annotated[str, _USERS] = "1,2,4,8,16,32,64,128,256",
    requests: Annotated[int, _REQUESTS] = 64,
    max_tokens: Annotated[int, _TOKENS] = 150,
    rounds: Annotated[int, _ROUNDS] = 1,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """A GPU under one model: memory planned and taken, 1 to 256 users, and what its memory's speed allows to one."""
    asked, counts = subject(model, device), _numbers(users)
    with _aside() as aside:
        speed, size = cards.bandwidth(device), cards.weights_bytes(asked, aside)
        starts, measured = asyncio.run(cards.measure(asked, aside, counts, requests, max_tokens, rounds))
    table = comparison.rows(measured)
    title = f"{model}, some 550 tokens in and {max_tokens} out"
    roof = speed / size
    lines = [
        *results.table(starts),
        "",
        *results.table(table),
        "",
        *results.ratios(cards.ratios(table, roof)),
        "",
        f"Roof for one user: {speed / 1e9:.0f} GB/s over {size / 1e9:.1f} GB of weights, {roof:.1f} tokens/s.",
    ]
    content = {"starts": [asdict(each) for each in starts], "loads": comparison.as_json(measured), "roof": roof}
    results.write(out, name := f"card-{_plain(model)}", title, content, lines)
    pictures.rates(out / f"{name}.png", title, table)


@app.command()
def capacity(
    model: Annotated[str, _MODEL] = "demo",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """The simulator of `maritalk-vllm plan --users` beside the real engine, under loads that it was not told of."""
    asked = subject(model, device)
    with _aside() as aside:
        target = Ours(asked, aside)
        try:
            target.wait()
            known, others, drift = asyncio.run(foretelling.measure(target))
        finally:
            target.stop()
        where = foretelling.site(asked, aside, known)
    lines = [
        "Loads that the cost of a step was taken from:",
        "",
        *foretelling.table(foretelling.rows(where, known)),
        "",
        "Loads that were foretold:",
        "",
        *foretelling.table(foretelling.rows(where, others)),
        "",
        f"The first load, repeated at the end, took {drift:.2f} times as long.",
    ]
    content = {
        "site": asdict(where),
        "known": [asdict(each) for each in known],
        "others": [asdict(each) for each in others],
        "drift": drift,
    }
    title = f"{model}: foretold and measured, {foretelling.MAX_TOKENS} tokens an answer"
    results.write(out, f"capacity-{_plain(model)}", title, content, lines)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _plain(model: str) -> str:
    """For a file's name."""
    return Path(model).name if Path(model).is_dir() else model.replace("/", "-")


def _median(starts: list[starting.Start]) -> starting.Start:
    values = {}
    for field in fields(starting.Start):
        known = [getattr(each, field.name) for each in starts]
        values[field.name] = statistics.median(known) if isinstance(known[0], int | float) else known[-1]
    return starting.Start(**values)


if __name__ == "__main__":
    # Told to end, it still stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    app()
