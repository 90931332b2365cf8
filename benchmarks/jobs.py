"""Workloads of MariTalk Local's users: its public benchmark, and few-shot classification of many texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from maritalk_vllm.tools.bench.bench_client import BenchClient
from maritalk_vllm.tools.bench.reference import PUBLISHED, ReferenceResult, reference

from .load_order import LoadSpec
from .targets import HTTPTarget

CLASS_TOKENS = 2
"""Length of the class that the few-shot prompt asks for ("positiva")."""

API_FORMAT_NAMES = {"ours": "generate", "vLLM's own": "openai-text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One row of the public benchmark, in tokens/s as it defines them."""

    server: str
    concurrency: int
    generated_tps: float
    total_tps: float
    system: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """`reviews` classified by `users` concurrent users."""

    target: str
    users: int
    reviews: int
    seconds: float
    reviews_per_second: float


async def published(target: HTTPTarget) -> list[Published]:
    """This server's results, followed by the published ones."""
    async with BenchClient(target.url) as client:
        tables: dict[str, Sequence[ReferenceResult]] = {
            "this server, this machine": await reference(client),
            **PUBLISHED,
        }
    return [
        Published(
            server=server,
            concurrency=row.concurrency,
            generated_tps=row.generated_tps,
            total_tps=row.total_tps,
            system=row.system,
        )
        for server, rows in tables.items()
        for row in rows
    ]


async def classify(target: HTTPTarget, users: Sequence[int], reviews: int) -> list[Bulk]:
    """Run the job once for each number of users, with no review twice."""
    done, first = [], 0
    for count in users:
        load_spec = LoadSpec(
            wire=API_FORMAT_NAMES[target.name],
            users=count,
            requests=reviews,
            max_tokens=CLASS_TOKENS,
            prompt="review",
            first=first,
        )
        first += reviews
        metrics = await target.metrics(load_spec)
        done.append(
            Bulk(
                target=target.name,
                users=count,
                reviews=reviews,
                seconds=metrics.seconds,
                reviews_per_second=metrics.requests_per_second,
            )
        )
    return done
