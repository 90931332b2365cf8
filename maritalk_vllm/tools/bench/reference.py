"""The public MariTalk Local benchmark: same prompt and definitions, so that results compare with those published.

Source: github.com/maritaca-ai/maritalk-api, examples/local/benchmark.py, April 2024. The original counts tokens with a
tokenizer from a hub; this one uses the server's counts.
"""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import Unavailable
from ...i18n.message import msg
from .api_formats import API_FORMATS, ApiFormat, Body
from .bench_client import BenchClient
from .prompts import numbers
from .request_result import RequestResult

PROMPT_TOKENS, MAX_TOKENS, REPEATS, CONCURRENCY = 550, 150, 5, (1, 2, 4, 8)
"""The original's defaults, and the arguments of its published results."""

_MIN_COMPLETION_TOKENS = 100
"""The original ignores shorter answers."""


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """Medians in tokens/s: `generated_tps` and `total_tps` (prompt and answer) of a request, `system` of all users."""

    concurrency: int
    generated_tps: float
    total_tps: float
    system: float


PUBLISHED = {
    "MariTalk Local, Sabiá-2 Small, 1x A100 40 GB (April 2024)": (
        ReferenceResult(1, 42.2, 167.2, 167.2),
        ReferenceResult(2, 24.2, 101.4, 202.9),
        ReferenceResult(4, 13.2, 57.1, 230.4),
        ReferenceResult(8, 7.2, 30.9, 245.8),
    ),
}
"""Results that its authors published (maritalk-api, April 2024)."""


def _sampling_body(prompt: str, max_tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 3.0, "top_p": 0.95, "return_usage": True}


_API_FORMAT = ApiFormat("reference", "/generate", False, _sampling_body, API_FORMATS["generate"].usage)


async def reference(
    client: BenchClient, on_response: Callable[[], None] = lambda: None, concurrency: Sequence[int] = CONCURRENCY
) -> list[ReferenceResult]:
    """Run the benchmark on a server with MariTalk Local's API; calls `on_response` after each request.

    Raises Unavailable if a request fails.
    """
    counted = await client.post("/tokenize", {"prompt": numbers(PROMPT_TOKENS)})
    tokens = counted["tokens"][:PROMPT_TOKENS]
    prompt = (await client.post("/detokenize", {"tokens": tokens}))["prompt"]
    await client.ask(_API_FORMAT, prompt, MAX_TOKENS)
    return [await _measure(client, prompt, each, on_response) for each in concurrency]


async def _measure(
    client: BenchClient, prompt: str, concurrency: int, on_response: Callable[[], None]
) -> ReferenceResult:
    async def send() -> RequestResult:
        result = await client.ask(_API_FORMAT, prompt, MAX_TOKENS)
        on_response()
        return result

    rows: list[RequestResult] = []
    systems = []
    for _ in range(REPEATS):
        group = await asyncio.gather(*(send() for _ in range(concurrency)))
        if failures := [result.failure for result in group if result.failure]:
            raise Unavailable(msg("A request of the reference benchmark failed: {failures}", failures=failures[0]))
        kept = [result for result in group if result.completion_tokens >= _MIN_COMPLETION_TOKENS]
        rows += kept
        if kept:
            tokens = sum(PROMPT_TOKENS + result.completion_tokens for result in kept)
            systems.append(tokens / statistics.median(result.seconds for result in kept))
    if not rows:
        raise Unavailable(
            msg(
                "All answers of the reference benchmark had fewer than {shortest} tokens.",
                shortest=_MIN_COMPLETION_TOKENS,
            )
        )
    return ReferenceResult(
        concurrency,
        statistics.median(row.completion_tokens / (row.generation_time or float("nan")) for row in rows),
        statistics.median((PROMPT_TOKENS + row.completion_tokens) / row.seconds for row in rows),
        statistics.median(systems),
    )
