"""Closed-loop load (a user sends again once answered) and open-loop load (Poisson arrivals)."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .request_result import RequestResult

SendRequest = Callable[[int], Awaitable[RequestResult]]
"""Sends one request, given its number."""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """The results of one load, and the seconds from its start to the last response."""

    results: tuple[RequestResult, ...]
    seconds: float


async def run_closed_loop(send: SendRequest, users: int, requests: int) -> LoadRun:
    """Run `users` concurrent users, each of which sends again once answered, until `requests` were sent in total."""
    numbers = iter(range(requests))
    results: list[RequestResult] = []

    async def user() -> None:
        for number in numbers:
            results.append(await send(number))

    started = time.monotonic()
    await asyncio.gather(*(user() for _ in range(users)))
    return LoadRun(tuple(results), time.monotonic() - started)


async def run_open_loop(send: SendRequest, rate: float, seconds: float, seed: int = 0) -> LoadRun:
    """Send `rate` requests a second on average, as a Poisson process, for `seconds`; then wait for all responses.

    The same seed gives the same arrival times.
    """
    rng = random.Random(seed)
    started = time.monotonic()
    tasks: list[asyncio.Task[RequestResult]] = []
    due = rng.expovariate(rate)
    while due < seconds:
        await asyncio.sleep(started + due - time.monotonic())
        tasks.append(asyncio.ensure_future(_as_coroutine(send(len(tasks)))))
        due += rng.expovariate(rate)
    results = await asyncio.gather(*tasks)
    return LoadRun(tuple(results), time.monotonic() - started)


async def _as_coroutine(awaitable: Awaitable[RequestResult]) -> RequestResult:
    return await awaitable
