"""What is measured side by side: ours, vLLM's own server, and the engine with no server. Results go into a folder."""

import asyncio
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import platformdirs
import typer

from . import compare as comparison
from . import loading, results
from . import start as starting
from .models import find_or_make
from .targets import VLLM, Ours

CACHE = platformdirs.user_cache_path("maritalk-vllm")

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

_MODEL = typer.Option(help="demo, one-layer, sharded, or a folder.")
_OUT = typer.Option(help="Folder for what was measured.")
_RESULTS = Path("benchmarks/results")


@contextmanager
def _aside() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


@app.command()
def compare(
    model: Annotated[str, _MODEL] = "one-layer",
    users: Annotated[str, typer.Option(help="Users at once, one load for each number.")] = "1,8,64",
    requests: Annotated[int, typer.Option(help="Requests of each load.")] = 320,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each answer.")] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds that count; one before them does not.")] = 5,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Requests a second and processor time, under the same loads, in turn."""
    folder = find_or_make(model, CACHE)
    with _aside() as aside, comparison.targets(folder, aside) as ready:
        counts = [int(count) for count in users.split(",")]
        measured = asyncio.run(comparison.compare(ready, counts, requests, max_tokens, rounds))
    table = comparison.rows(measured)
    title = f"{model}, {max_tokens} tokens an answer, {rounds} rounds of {requests} requests"
    lines = [*results.table(table), "", *results.ratios(comparison.ratios(table))]
    results.write(out, f"compare-{model}", title, comparison.as_json(measured), lines)


@app.command()
def start(
    model: Annotated[str, _MODEL] = "demo",
    rounds: Annotated[int, typer.Option(help="Starts of each; one before them warms the file cache.")] = 5,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """From exec to the first answer, memory at rest, and back from a dead engine."""
    folder = find_or_make(model, CACHE)
    starts: list[starting.Start] = []
    for number in range(rounds + 1):
        for kind in (Ours, VLLM):
            with _aside() as aside:
                measured = starting.measure(kind, folder, aside)
            if number:
                starts.append(measured)
    ours, theirs = (_median([each for each in starts if each.target == kind.name]) for kind in (Ours, VLLM))
    title = f"Starts with {model}, warm file cache, medians of {rounds}"
    lines = [*results.table([ours, theirs]), "", *results.ratios(starting.ratios(ours, theirs))]
    results.write(out, f"start-{model}", title, [asdict(each) for each in starts], lines)


@app.command()
def load(model: Annotated[str, _MODEL] = "sharded", out: Annotated[Path, _OUT] = _RESULTS) -> None:
    """Host memory while a checkpoint of several files is loaded."""
    folder = find_or_make(model, CACHE)
    loads = []
    for kind in (Ours, VLLM):
        with _aside() as aside:
            loads.append(loading.measure(kind, folder, aside))
    ratio = ("peak anonymous memory while loading / weights", loads[0].peak / loads[0].weights, "<= 1.15")
    lines = [*results.table(loads), "", *results.ratios([ratio])]
    results.write(out, f"load-{model}", f"Loading {model}", [asdict(each) for each in loads], lines)


def _median(starts: list[starting.Start]) -> starting.Start:
    values = {}
    for field in fields(starting.Start):
        known = [getattr(each, field.name) for each in starts]
        values[field.name] = known[0] if field.name == "target" or known[0] is None else statistics.median(known)
    return starting.Start(**values)


if __name__ == "__main__":
    app()
