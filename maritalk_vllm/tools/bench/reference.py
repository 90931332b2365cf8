"""The public MariTalk Local benchmark: the same prompt and definitions, so that its published figures compare.

Source: github.com/maritaca-ai/maritalk-api, examples/local/benchmark.py, April 2024. There tokens were counted by a
tokenizer from a hub; here the server counts its own.
"""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import Unavailable
from .api_formats import WIRES, Body, Wire
from .bench_client import BenchClient
from .prompts import numbers
from .request_result import RequestResult

PROMPT_TOKENS, MAX_TOKENS, REPEATS, CONCURRENCY = 550, 150, 5, (1, 2, 4, 8)
"""Its defaults, and the arguments that its published figures were made with."""

_SHORTEST = 100
"""It leaves out answers of fewer tokens."""


@dataclass(frozen=True, slots=True)
class Line:
    """Medians, tokens a second: a request's own generation, a request's prompt and answer, and all users' together."""

    concurrency: int
    generated_tps: float
    total_tps: float
    system: float


PUBLISHED = {
    "MariTalk Local, Sabiá-2 Small, 1x A100 40 GB (April 2024)": (
        Line(1, 42.2, 167.2, 167.2),
        Line(2, 24.2, 101.4, 202.9),
        Line(4, 13.2, 57.1, 230.4),
        Line(8, 7.2, 30.9, 245.8),
    ),
}
"""What its authors published (maritalk-api, April 2024)."""


def _sampled(prompt: str, max_tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 3.0, "top_p": 0.95, "return_usage": True}


_WIRE = Wire("reference", "/generate", False, _sampled, WIRES["generate"].spent)


async def reference(
    client: BenchClient, answered: Callable[[], None] = lambda: None, concurrency: Sequence[int] = CONCURRENCY
) -> list[Line]:
    """Run it on a server that speaks MariTalk Local's API; `answered` is called after each request.

    Raises Unavailable if one fails.
    """
    counted = await client.post("/tokenize", {"prompt": numbers(PROMPT_TOKENS)})
    tokens = counted["tokens"][:PROMPT_TOKENS]
    prompt = (await client.post("/detokenize", {"tokens": tokens}))["prompt"]
    await client.ask(_WIRE, prompt, MAX_TOKENS)
    return [await _line(client, prompt, each, answered) for each in concurrency]


async def _line(client: BenchClient, prompt: str, concurrency: int, answered: Callable[[], None]) -> Line:
    async def ask() -> RequestResult:
        outcome = await client.ask(_WIRE, prompt, MAX_TOKENS)
        answered()
        return outcome

    rows: list[RequestResult] = []
    systems = []
    for _ in range(REPEATS):
        group = await asyncio.gather(*(ask() for _ in range(concurrency)))
        if failures := [outcome.failure for outcome in group if outcome.failure]:
            raise Unavailable(f"A request of the reference benchmark failed: {failures[0]}")
        kept = [outcome for outcome in group if outcome.completion_tokens >= _SHORTEST]
        rows += kept
        if kept:
            tokens = sum(PROMPT_TOKENS + outcome.completion_tokens for outcome in kept)
            systems.append(tokens / statistics.median(outcome.seconds for outcome in kept))
    if not rows:
        raise Unavailable(f"All answers of the reference benchmark had fewer than {_SHORTEST} tokens.")
    return Line(
        concurrency,
        statistics.median(row.completion_tokens / (row.generation_time or float("nan")) for row in rows),
        statistics.median((PROMPT_TOKENS + row.completion_tokens) / row.seconds for row in rows),
        statistics.median(systems),
    )
