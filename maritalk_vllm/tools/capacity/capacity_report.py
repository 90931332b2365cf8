"""A study in words and as data. Pure."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ...errors import MariTalkError
from ...hardware.gpu_catalog import find_gpu
from ...hardware.interconnect import Link
from ...planning.plan_report import as_data as plan_as_data
from ...planning.roofline import LINK_BYTES
from ...text_format import pluralize, table
from ...translation import translated
from .capacity_study import Study


def report(study: Study) -> list[str]:
    """All of it, in the language chosen."""
    title, users = study.question.need.title, study.question.workload.users
    head = f"{title} for {users} users: {study.cards} x {study.site.name}, {_replicas(study)}."
    rows = [[translated(name), translated(value)] for name, value in _rows(study)]
    assumed = [f"  {translated(each)}" for each in assumptions(study)]
    considered = [f"  {translated(each)}" for each in study.considered]
    if considered:
        considered = ["", translated("Considered:"), *considered]
    return [translated(head), "", *table(rows), *considered, "", translated("Assumed:"), *assumed]


def _replicas(study: Study) -> str:
    replicas = pluralize(study.sized.replicas, "replica")
    return f"{replicas} of {study.site.cards} cards each" if study.site.cards > 1 else replicas


def _rows(study: Study) -> list[tuple[str, str]]:
    sized, busiest, site = study.sized, study.sized.busiest, study.site
    latency, first = busiest.latency, busiest.first_token
    assert latency is not None and first is not None
    rows = [
        ("requests", f"{busiest.requests_per_second * sized.replicas:.1f}/s in the busiest hour"),
        ("", f"{study.day.requests:,} a day"),
        ("whole answer after", f"{latency.p50:.1f} s at the middle, {latency.p95:.1f} s at 95%"),
        ("first token after", f"{first.p50:.2f} s at the middle, {first.p95:.2f} s at 95%"),
        ("over the whole day", f"{study.day.p95:.1f} s at 95%"),
        ("a user alone", f"{sized.alone.p95:.1f} s at 95%"),
        ("each replica", f"{busiest.running:.1f} requests at once"),
        ("KV cache of each", f"{site.cache_tokens:,} tokens, {busiest.cached / site.cache_tokens:.0%} in use at most"),
    ]
    if sized.fewer is not None:
        rows.append(("one replica fewer", f"{sized.fewer.p95:.1f} s at 95%"))
    return rows


def assumptions(study: Study) -> list[str]:
    """What the figures stand on, a sentence each."""
    workload, efficiency, site = study.question.workload, study.question.efficiency, study.site
    if workload.hourly is None:
        asks = f"each asks again {workload.think:g} s after an answer, on average (--think)"
    else:
        asks = f"each asks {workload.hourly:g} times an hour, whenever it comes (--requests-per-hour)"
    lengths = f"{workload.prompt} tokens of prompt and {workload.answer} of answer"
    varied = f"on average, and varies by {workload.spread:g} of it" if workload.spread else "all alike"
    found = [
        f"{workload.users} users are there in the busiest hour, and {asks}.",
        f"A request has {lengths}, {varied} (--spread); nothing of it is cached.",
        f"The busiest hour has {workload.peak_share:.0%} of a day's requests (--peak-share).",
        f"A step of vLLM takes up to {site.limits.tokens} tokens and {site.limits.sequences} requests.",
        "The users are spread evenly over the replicas, and stay; where each request goes by chance, some wait longer.",
    ]
    if study.question.loads:
        return [*found, "What a step costs was fitted to what was measured (--measured)."]
    return [*found, *_promised(study, efficiency.memory, efficiency.compute)]


def _promised(study: Study, memory: float, compute: float) -> Iterator[str]:
    card = find_gpu(study.site.name)
    bandwidth, flops = (card.bandwidth or 0) / 1e9, (card.flops or 0) / 1e12
    yield f"Memory is read with {memory:g} of the {bandwidth:,.0f} GB/s of the data sheet (--memory-efficiency)."
    yield f"A prompt is computed with {compute:g} of the {flops:g} TFLOPS of the data sheet (--compute-efficiency)."
    if study.plan.tensor_parallel_size > 1:
        link, share = LINK_BYTES[card.link] / 1e9, study.question.efficiency.link
        over = "NVLink" if card.link is Link.NVLINK else "PCIe"
        yield f"Cards send each other {share:g} of {link:g} GB/s over {over}."
    yield f"A step takes {1000 * study.site.cost.fixed:.1f} ms beside that."
    yield "No GPU was measured for this: measure one with `maritalk-vllm bench --out FILE`, and give --measured FILE."


def as_data(study: Study) -> dict[str, Any]:
    """For programs; seconds, tokens and bytes."""
    site = study.site
    return {
        "fits": True,
        "model": study.plan.model,
        "users": study.question.workload.users,
        "cards": study.cards,
        "card": site.name,
        "replicas": study.sized.replicas,
        "cards_per_replica": site.cards,
        "workload": asdict(study.question.workload),
        "step": asdict(site.cost),
        "limits": {**asdict(site.limits), "cache_tokens": site.cache_tokens},
        "busiest_hour": asdict(study.sized.busiest),
        "one_replica_fewer": asdict(study.sized.fewer) if study.sized.fewer else None,
        "alone": asdict(study.sized.alone),
        "day": asdict(study.day),
        "considered": list(study.considered),
        "assumptions": assumptions(study),
        "plan": plan_as_data(study.plan),
        "error": None,
    }


_KEYS = (
    "model",
    "users",
    "cards",
    "card",
    "replicas",
    "cards_per_replica",
    "workload",
    "step",
    "limits",
    "busiest_hour",
    "one_replica_fewer",
    "alone",
    "day",
)
"""What a study has and a refusal has not."""


def as_refusal(error: MariTalkError) -> dict[str, Any]:
    """What cannot be, with the same keys."""
    nothing: dict[str, Any] = dict.fromkeys(_KEYS)
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"fits": False, **nothing, "considered": [], "assumptions": [], "plan": None, "error": told}
