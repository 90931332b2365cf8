"""Benchmarks of our server, vLLM's own server, and the engine with no server, side by side; results go to a folder."""

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

from . import batches, loading, pictures, ratios, results
from . import capacity as prediction
from . import card as cards
from . import compare as comparison
from . import growth as growing
from . import jobs as bulk_jobs
from . import knee as rate_sweep
from . import plan_accuracy as accuracy
from . import start as startup
from .models import subject
from .subject import Engine
from .targets import VLLM, EngineAlone, Ours, VLLMInterval

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

_MODEL = typer.Option(help="demo, one-layer, sharded, shapes/small, shapes/medium, or a folder.")
_DEVICE = typer.Option(help="What runs it.")
_ENGINE = typer.Option(help="null: a worker that computes nothing, for the front end alone.")
_OUT = typer.Option(help="Folder for what was measured.")
_USERS = typer.Option(help="Users at once, one load for each number.")
_REQUESTS = typer.Option(help="Requests of each load, and at least 16 a user.")
_TOKENS = typer.Option(help="Tokens of each answer.")
_ROUNDS = typer.Option(help="Rounds that count; one before them does not.")
_RESULTS = Path("benchmarks/results")


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


@app.command()
def compare(
    model: Annotated[str, _MODEL] = "one-layer",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    engine: Annotated[Engine, _ENGINE] = Engine.REAL,
    users: Annotated[str, _USERS] = "1,8,64",
    long_users: Annotated[str, typer.Option(help="Users at once with prompts of some 550 tokens, 150 out.")] = "8",
    requests: Annotated[int, _REQUESTS] = 64,
    max_tokens: Annotated[int, _TOKENS] = 32,
    rounds: Annotated[int, typer.Option(help="Rounds at least; one before them does not count.")] = 5,
    spread: Annotated[float, typer.Option(help="Repeat rounds until each ratio is known to within this share.")] = 0.05,
    minutes: Annotated[float, typer.Option(help="After this time the round is the last one.")] = 30,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Requests a second and processor time, under the same loads, in turn."""
    classes = (Ours, VLLM, VLLMInterval) if engine is Engine.NULL else (Ours, VLLM, VLLMInterval, EngineAlone)
    shapes = [comparison.Shape(count, max_tokens=max_tokens) for count in _numbers(users)]
    shapes += [comparison.Shape(count, "document", 150) for count in _numbers(long_users)]
    with _temporary_folder() as folder, comparison.targets(subject(model, device, engine), folder, classes) as ready:
        is_enough = ratios.until_settled(shapes, rounds, spread, 60 * minutes)
        measured = asyncio.run(comparison.compare(ready, shapes, requests, is_enough))
    table = comparison.rows(measured)
    title = f"{_described(model, engine)}, {measured[-1].round} rounds"
    lines = [*results.table(table), "", *ratios.table(ratios.ratios(measured, shapes))]
    lines += ["", comparison.interference(measured)]
    name = f"compare-{_file_name(model, engine)}"
    results.write(out, name, title, comparison.as_json(measured), lines)
    short = [row for row in table if row.shape.prompt == shapes[0].prompt]
    pictures.rates(out / f"{name}-rate.png", title, short)
    pictures.processor(out / f"{name}-cpu.png", title, short)


@app.command()
def knee(
    model: Annotated[str, _MODEL] = "one-layer",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    requests: Annotated[int, _REQUESTS] = 512,
    max_tokens: Annotated[int, _TOKENS] = 32,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Open-loop load at growing rates, until a server does not keep up."""
    arrivals: list[rate_sweep.Arrivals] = []
    rates: list[float] = []
    for target_class, wire in ((Ours, "cloud-stream"), (VLLM, "openai-chat-stream")):
        with _temporary_folder() as folder:
            target = target_class(subject(model, device), folder)
            try:
                target.wait()
                if not rates:
                    fastest = asyncio.run(rate_sweep.max_throughput(target, wire, requests, max_tokens))
                    rates = [share * fastest for share in rate_sweep.SHARES]
                arrivals += asyncio.run(rate_sweep.sweep(target, wire, rates, requests, max_tokens))
            finally:
                target.stop()
    ours, theirs = (
        rate_sweep.knee([each for each in arrivals if each.target == target_class.name])
        for target_class in (Ours, VLLM)
    )
    title = f"{model}, {max_tokens} tokens an answer, {requests} requests at each rate"
    lines = [*results.table(arrivals), "", f"Keeps up to {ours:.1f} requests/s; vLLM's own to {theirs:.1f}."]
    results.write(out, name := f"knee-{_file_name(model)}", title, [asdict(each) for each in arrivals], lines)
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
    bulk: list[bulk_jobs.Bulk] = []
    published: list[bulk_jobs.Published] = []
    for target_class in (Ours, VLLM):
        with _temporary_folder() as folder:
            target = target_class(subject(model, device), folder)
            try:
                target.wait()
                if isinstance(target, Ours):
                    published = asyncio.run(bulk_jobs.published(target))
                bulk += asyncio.run(bulk_jobs.classify(target, _numbers(users), reviews))
            finally:
                target.stop()
    title = f"{model}: MariTalk Local's public benchmark, and {reviews} reviews to classify"
    measured = {"published": [asdict(each) for each in published], "bulk": [asdict(each) for each in bulk]}
    lines = [*results.table(published), "", *results.table(bulk)]
    results.write(out, name := f"jobs-{_file_name(model)}", title, measured, lines)
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
    """Time from exec to the first answer, memory at rest, and recovery from an engine's death."""
    starts: list[startup.Start] = []
    for number in range(rounds + 1):
        for target_class in (Ours, VLLM):
            with _temporary_folder() as folder:
                measured = startup.measure(target_class, subject(model, device), folder)
            if number:
                starts.append(measured)
    ours, theirs = (
        _median([each for each in starts if each.target == target_class.name]) for target_class in (Ours, VLLM)
    )
    title = f"Starts with {model}, warm file cache, medians of {rounds}"
    lines = [*results.table([ours, theirs]), "", *results.ratios(startup.ratios(ours, theirs))]
    for each in (ours, theirs):
        lines += ["", f"The processes of {each.target}, at rest:", "", *results.table(each.processes)]
    results.write(out, name := f"start-{_file_name(model)}", title, [asdict(each) for each in starts], lines)
    pictures.start(out / f"{name}.png", title, ours, theirs)


@app.command()
def load(
    model: Annotated[str, _MODEL] = "sharded",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Host memory while a checkpoint of several files is loaded."""
    loads = []
    for target_class in (Ours, VLLM):
        with _temporary_folder() as folder:
            loads.append(loading.measure(target_class, subject(model, device), folder))
    ratio = ("peak anonymous memory while loading / weights", loads[0].peak / loads[0].weights, "<= 1.15")
    lines = [*results.table(loads), "", *results.ratios([ratio])]
    results.write(out, f"load-{_file_name(model)}", f"Loading {model}", [asdict(each) for each in loads], lines)


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
    """A GPU under one model: memory planned and taken, 1 to 256 users, and the limit of memory bandwidth for one."""
    asked, counts = subject(model, device), _numbers(users)
    with _temporary_folder() as folder:
        speed, size = cards.bandwidth(device), cards.weights_bytes(asked, folder)
        starts, measured = asyncio.run(cards.measure(asked, folder, counts, requests, max_tokens, rounds))
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
    results.write(out, name := f"card-{_file_name(model)}", title, content, lines)
    pictures.rates(out / f"{name}.png", title, table)


@app.command()
def capacity(
    model: Annotated[str, _MODEL] = "demo",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """The simulator of `maritalk-vllm plan --users` compared with the real engine, under new loads."""
    asked = subject(model, device)
    with _temporary_folder() as folder:
        target = Ours(asked, folder)
        try:
            target.wait()
            calibration, predicted, drift = asyncio.run(prediction.measure(target))
        finally:
            target.stop()
        replica = prediction.replica_model(asked, folder, calibration)
    lines = [
        "Loads that the cost of a step was taken from:",
        "",
        *prediction.table(prediction.rows(replica, calibration)),
        "",
        "Predicted loads:",
        "",
        *prediction.table(prediction.rows(replica, predicted)),
        "",
        f"The first load, repeated at the end, took {drift:.2f} times as long.",
    ]
    content = {
        "site": asdict(replica),
        "known": [asdict(each) for each in calibration],
        "others": [asdict(each) for each in predicted],
        "drift": drift,
    }
    title = f"{model}: predicted and measured, {prediction.MAX_TOKENS} tokens an answer"
    results.write(out, f"capacity-{_file_name(model)}", title, content, lines)


@app.command()
def batch(
    model: Annotated[str, _MODEL] = "one-layer",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    users: Annotated[int, typer.Option(help="Interactive users at once.")] = 8,
    requests: Annotated[int, typer.Option(help="Interactive requests of each load.")] = 160,
    max_tokens: Annotated[int, _TOKENS] = 32,
    batch_lines: Annotated[int, typer.Option(help="Lines of the batch whose throughput is measured.")] = 400,
    rounds: Annotated[int, _ROUNDS] = 3,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """Time to first token with and without a batch, and a batch's throughput compared with `vllm run-batch`."""
    asked = subject(model, device)
    with _temporary_folder() as folder, batches.servers(asked, folder) as (ours, run_batch):
        measurement = batches.Measurement(ours, run_batch, folder, max_tokens)
        loads, times = asyncio.run(batches.measure(measurement, users, requests, batch_lines, rounds))
    title = f"{model}: {users} interactive users beside a batch, {max_tokens} tokens an answer"
    lines = [*results.table(loads), "", *results.table(times), "", *results.ratios(batches.ratios(loads, times))]
    content = {"loads": [asdict(each) for each in loads], "batches": [asdict(each) for each in times]}
    results.write(out, f"batch-{_file_name(model)}", title, content, lines)


@app.command()
def growth(
    model: Annotated[str, _MODEL] = "one-layer",
    device: Annotated[Device, _DEVICE] = Device.CPU,
    engine: Annotated[Engine, _ENGINE] = Engine.NULL,
    users: Annotated[str, _USERS] = "1,2,4,8,16,32,64,128,256,512",
    keys: Annotated[str, typer.Option(help="API keys, one server for each number.")] = "1,10,100,1000",
    requests: Annotated[int, typer.Option(help="Requests in all to one server; 0 for none.")] = 100_000,
    requests_per_load: Annotated[int, typer.Option(help="Requests of each load of users, at least 16 a user.")] = 512,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each answer to the loads of users; others: 2.")] = 32,
    out: Annotated[Path, _OUT] = _RESULTS,
) -> None:
    """What a request costs our server, and its memory, by users at once, API keys, and requests answered so far."""
    asked = subject(model, device, engine)
    measured = growing.measure(asked, _numbers(users), requests_per_load, max_tokens, _numbers(keys), requests)
    title = f"Growth of load on our server, {_described(model, engine)}"
    results.write(out, f"growth-{_file_name(model, engine)}", title, asdict(measured), growing.table(measured))


@app.command(name="plan-accuracy")
def plan_accuracy() -> None:
    """The memory plan compared with logged starts of vLLM; measures nothing and needs no GPU."""
    rows = accuracy.accuracies()
    print("\n".join([*accuracy.table(rows), "", accuracy.summary(rows)]))


def _numbers(text: str) -> list[int]:
    return [int(number) for number in filter(None, text.split(","))]


def _file_name(model: str, engine: Engine = Engine.REAL) -> str:
    """The model's name, and the engine's unless it is the real one, as a part of a file name."""
    name = Path(model).name if Path(model).is_dir() else model.replace("/", "-")
    return f"{name}-null" if engine is Engine.NULL else name


def _described(model: str, engine: Engine) -> str:
    """The model, and the engine unless it is the real one, as a part of a title."""
    return f"{model}, null engine" if engine is Engine.NULL else model


def _median(starts: list[startup.Start]) -> startup.Start:
    values = {}
    for field in fields(startup.Start):
        samples = [getattr(each, field.name) for each in starts]
        values[field.name] = statistics.median(samples) if isinstance(samples[0], int | float) else samples[-1]
    return startup.Start(**values)


if __name__ == "__main__":
    # On SIGTERM it still stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    app()
