"""What MariTalk Local's users ran: its public benchmark, and a few-shot classification of many texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from maritalk_vllm.tools.bench.bench_client import BenchClient
from maritalk_vllm.tools.bench.reference import PUBLISHED, Line, reference

from .load_order import Order
from .targets import HTTPTarget

CLASS_TOKENS = 2
"""Of the class that the few-shot example asks for ("positiva")."""

WIRES = {"ours": "generate", "vLLM's own": "openai-text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One line of the public benchmark: tokens a second, as it defines them."""

    server: str
    concurrency: int
    generated_tps: float
    total_tps: float
    system: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """So many reviews classified by so many users at once."""

    target: str
    users: int
    reviews: int
    seconds: float
    reviews_per_second: float


async def published(target: HTTPTarget) -> list[Published]:
    """This server's table beside the published ones."""
    async with BenchClient(target.url) as client:
        tables: dict[str, Sequence[Line]] = {"this server, this machine": await reference(client), **PUBLISHED}
    return [
        Published(
            server=server,
            concurrency=line.concurrency,
            generated_tps=line.generated_tps,
            total_tps=line.total_tps,
            system=line.system,
        )
        for server, lines in tables.items()
        for line in lines
    ]


async def classify(target: HTTPTarget, users: Sequence[int], reviews: int) -> list[Bulk]:
    """The job once for each number of users, no review twice."""
    done, first = [], 0
    for count in users:
        order = Order(
            wire=WIRES[target.name],
            users=count,
            requests=reviews,
            max_tokens=CLASS_TOKENS,
            prompt="review",
            first=first,
        )
        first += reviews
        figures = await target.figures(order)
        done.append(
            Bulk(
                target=target.name,
                users=count,
                reviews=reviews,
                seconds=figures.seconds,
                reviews_per_second=figures.requests_per_second,
            )
        )
    return done
