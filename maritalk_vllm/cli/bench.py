"""`maritalk-vllm bench`: put load on a running server and report its throughput and latency."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import extras
from ..errors import UsageError
from ..i18n.message import msg, numeral, pluralized
from ..i18n.rendering import decimal, localized, say
from ..settings import OPTIONS
from ..text_format import did_you_mean
from . import path_options
from .progress_counter import Counter
from .server_options import CA_CERTIFICATES, KEY, URL, server_address

if TYPE_CHECKING:
    from ..tools.bench.bench_client import BenchClient
    from ..tools.bench.latency_metrics import LatencyMetrics, Percentiles
    from ..tools.bench.load_generator import SendRequest
    from ..tools.bench.request_result import RequestResult


class Prompt(StrEnum):
    """Kind of prompt that is sent."""

    COUNTING = "counting"
    REVIEW = "review"


def bench(
    url: URL = f"http://127.0.0.1:{OPTIONS['port'].default}",
    api_key: KEY = None,
    cacert: CA_CERTIFICATES = None,
    wire: Annotated[
        str,
        typer.Option(
            help="The API, and whether its answers are streamed: generate, generate-stream, chat-generate, "
            "cloud-stream, openai-text, openai-chat or openai-chat-stream.",
            metavar="NAME",
        ),
    ] = "generate",
    users: Annotated[
        str, typer.Option(help="Users at once, a load for each number.", metavar="N,N,...")
    ] = "1,2,4,8,16",
    rate: Annotated[
        str | None,
        typer.Option(
            help="Instead of users: requests per second, arriving independently (Poisson).", metavar="R,R,..."
        ),
    ] = None,
    requests: Annotated[
        int, typer.Option(help="Requests of each load, and at least one a user.", metavar="N", min=1)
    ] = 32,
    prompt: Annotated[
        Prompt, typer.Option(help="The prompts: texts to complete, or film reviews to classify.")
    ] = Prompt.COUNTING,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", metavar="N", min=1)] = 64,
    service_tier: Annotated[
        str | None, typer.Option(help="Service tier of the requests, such as flex.", metavar="NAME")
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="The public MariTalk Local benchmark instead (550 tokens in, 150 out).")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="File for all figures, as JSON.", metavar="FILE", callback=path_options.checked)
    ] = None,
) -> None:
    """Measure the speed of a running server. It prints requests and tokens a second, and the times of requests.

    The load comes from this process, which needs a processor of its own.
    """
    extras.require("aiohttp", "maritalk-vllm bench")
    from ..tools.bench.api_formats import API_FORMATS
    from ..tools.bench.bench_client import BenchClient

    if wire not in API_FORMATS:
        raise UsageError(msg("Unknown API for --wire: {wire}.", wire=wire), did_you_mean(wire, API_FORMATS))
    if service_tier is not None and (reference or not API_FORMATS[wire].has_service_tier):
        raise UsageError("Requests of this API name no service tier.", "Choose --wire openai-chat, for instance.")
    counts, rates = _numbers("users", users, int), _numbers("rate", rate, float) if rate else []
    if out is not None:
        _write(out)  # fails before the measurement, not after it
    address = server_address(url, api_key, cacert)
    verify = address.ssl_verify()

    async def measure() -> dict[str, object]:
        async with BenchClient(address.url, address.key, verify=verify) as client:
            if reference:
                return await _reference(client)
            fields = {} if service_tier is None else {"service_tier": service_tier}
            return await _loads(client, wire, counts, rates, requests, prompt, max_tokens, fields)

    measured = asyncio.run(measure())
    if out is not None:
        _write(out, json.dumps(measured, indent=1, ensure_ascii=False) + "\n")


def _write(file: Path, text: str = "") -> None:
    """Write `text` to a file, or without text only check that this is possible. Raises UsageError."""
    try:
        with file.open("a" if not text else "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(
            msg("{file} cannot be written: {reason}.", file=file, reason=error.strerror), "Choose another --out."
        ) from error


async def _loads(
    client: "BenchClient",
    wire: str,
    users: list[float],
    rates: list[float],
    requests: int,
    prompt: Prompt,
    max_tokens: int,
    fields: dict[str, str],
) -> dict[str, object]:
    from ..tools.bench import prompts
    from ..tools.bench.api_formats import API_FORMATS
    from ..tools.bench.latency_metrics import LatencyMetrics
    from ..tools.bench.load_generator import run_closed_loop, run_open_loop
    from ..tools.bench.request_result import RequestResult

    sent, make_prompt = 0, {Prompt.COUNTING: prompts.counting, Prompt.REVIEW: prompts.review}[prompt]

    async def send(_: int) -> RequestResult:
        nonlocal sent
        sent += 1  # no load repeats the prompts of another
        return await client.ask(API_FORMATS[wire], make_prompt(sent), max_tokens, fields)

    first = await send(0)
    if client.connect_error is not None:
        raise client.connect_error
    if first.failure:
        raise UsageError(
            msg("The server does not answer: {failure}.", failure=first.failure),
            "Check that it is ready, and that the name of the model is right.",
        )
    loads: list[dict[str, object]] = []
    print(_row([localized(name) for name in _COLUMNS]))
    for load in rates or users:
        name = (
            f"{localized(numeral(load, 'g'))}/s"
            if rates
            else localized(pluralized(int(load), "{number} user", "{number} users"))
        )
        total = requests if rates else max(requests, int(load))
        with Counter(name, total) as counter:
            counted = _counted(send, counter)
            if rates:
                run = await run_open_loop(counted, load, total / load)
            else:
                run = await run_closed_loop(counted, int(load), total)
        metrics = LatencyMetrics.of(run)
        loads.append({"rate" if rates else "users": load, **asdict(metrics)})
        print(_line(name, metrics), flush=True)
        if metrics.failed:
            print("  " + say("{failed} failed, the first: {failure}", failed=metrics.failed, failure=metrics.failure))
    return {"wire": wire, "prompt": prompt, "max_tokens": max_tokens, **fields, "loads": loads}


def _counted(send: "SendRequest", counter: Counter) -> "SendRequest":
    async def send_and_count(number: int) -> "RequestResult":
        result = await send(number)
        counter.count()
        return result

    return send_and_count


_COLUMNS = {
    "": 10,
    "requests/s": 10,
    "tokens/s": 9,
    "latency p50": 12,
    "p95": 8,
    "first token": 12,
    "each token": 10,
    "queue": 8,
    "prompt": 8,
    "generation": 10,
    "outside": 8,
}
"""Title and least width of each column of `_line`."""


def _line(load: str, metrics: "LatencyMetrics") -> str:
    def median(percentiles: "Percentiles | None") -> str:
        return _time(percentiles.p50) if percentiles else "-"

    return _row(
        [
            load,
            decimal(metrics.requests_per_second, 2),
            decimal(metrics.generated_tokens_per_second, 1),
            median(metrics.latency),
            _time(metrics.latency.p95) if metrics.latency else "-",
            *map(median, (metrics.time_to_first_token, metrics.inter_token, metrics.queue_time)),
            *map(median, (metrics.prompt_time, metrics.generation_time, metrics.outside)),
        ]
    )


def _row(cells: Sequence[str]) -> str:
    widths = (max(width, len(localized(name))) for name, width in _COLUMNS.items())
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _time(seconds: float) -> str:
    return f"{decimal(seconds, 2)} s" if seconds >= 1 else f"{decimal(seconds * 1000, 1)} ms"


async def _reference(client: "BenchClient") -> dict[str, object]:
    from ..tools.bench.reference import CONCURRENCY, PUBLISHED, REPEATS, reference

    title = "The public MariTalk Local benchmark: tokens a second, medians (550 tokens in, 150 out, temperature 3)."
    print(localized(title))
    with Counter(localized("This server"), REPEATS * sum(CONCURRENCY)) as counter:
        measured = await reference(client, counter.count)
    for title, results in {"This server": measured, **PUBLISHED}.items():
        names = (("concurrency", 12), ("generated", 10), ("total", 8), ("system", 8))
        print(f"\n{localized(title)}\n{' '.join(f'{localized(name):>{width}}' for name, width in names)}")
        for row in results:
            rates = (decimal(rate, 1) for rate in (row.generated_tps, row.total_tps, row.system))
            cells = zip((str(row.concurrency), *rates), names, strict=True)
            print(" ".join(f"{cell:>{width}}" for cell, (_, width) in cells))
    return {"reference": [asdict(row) for row in measured]}


def _numbers(name: str, text: str, kind: Callable[[str], float]) -> list[float]:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) <= 0:
        raise UsageError(
            msg("--{name} {text} is no list of numbers over 0.", name=name, text=text),
            msg("Write --{name} 1,8,64, for instance.", name=name),
        )
    return numbers
