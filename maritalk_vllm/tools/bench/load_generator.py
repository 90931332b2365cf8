"""How requests come: as soon as the one before is answered, or when they come."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .request_result import RequestResult

Ask = Callable[[int], Awaitable[RequestResult]]
"""One request, by its number."""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """The requests of one load, and the seconds from the first to the end of the last."""

    outcomes: tuple[RequestResult, ...]
    seconds: float


async def closed(ask: Ask, users: int, requests: int) -> LoadRun:
    """So many users, each of whom asks again as soon as it is answered, until `requests` were asked in all."""
    numbers = iter(range(requests))
    outcomes: list[RequestResult] = []

    async def user() -> None:
        for number in numbers:
            outcomes.append(await ask(number))

    began = time.monotonic()
    await asyncio.gather(*(user() for _ in range(users)))
    return LoadRun(tuple(outcomes), time.monotonic() - began)


async def opened(ask: Ask, rate: float, seconds: float, seed: int = 0) -> LoadRun:
    """`rate` requests a second on average, independent of each other (Poisson), for `seconds`; then all are waited for.

    The same seed makes the same arrivals.
    """
    chance = random.Random(seed)
    began = time.monotonic()
    tasks: list[asyncio.Task[RequestResult]] = []
    due = chance.expovariate(rate)
    while due < seconds:
        await asyncio.sleep(began + due - time.monotonic())
        tasks.append(asyncio.ensure_future(_awaited(ask(len(tasks)))))
        due += chance.expovariate(rate)
    outcomes = await asyncio.gather(*tasks)
    return LoadRun(tuple(outcomes), time.monotonic() - began)


async def _awaited(work: Awaitable[RequestResult]) -> RequestResult:
    return await work
