"""A capacity study as text and as data. Pure."""

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
    """The lines of the report, in the selected language."""
    title, users = study.inputs.requirements.title, study.inputs.workload.users
    head = f"{title} for {users} users: {study.gpus} x {study.replica.name}, {_replicas(study)}."
    rows = [[translated(name), translated(value)] for name, value in _rows(study)]
    assumed = [f"  {translated(each)}" for each in assumptions(study)]
    considered = [f"  {translated(each)}" for each in study.considered]
    if considered:
        considered = ["", translated("Considered:"), *considered]
    return [translated(head), "", *table(rows), *considered, "", translated("Assumed:"), *assumed]


def _replicas(study: Study) -> str:
    replicas = pluralize(study.sized.replicas, "replica")
    return f"{replicas} of {study.replica.cards} cards each" if study.replica.cards > 1 else replicas


def _rows(study: Study) -> list[tuple[str, str]]:
    sized, peak_hour, replica = study.sized, study.sized.peak_hour, study.replica
    latency, first = peak_hour.latency, peak_hour.first_token
    assert latency is not None and first is not None
    rows = [
        ("requests", f"{peak_hour.requests_per_second * sized.replicas:.1f}/s in the busiest hour"),
        ("", f"{study.day.requests:,} a day"),
        ("whole answer after", f"{latency.p50:.1f} s at the middle, {latency.p95:.1f} s at 95%"),
        ("first token after", f"{first.p50:.2f} s at the middle, {first.p95:.2f} s at 95%"),
        ("over the whole day", f"{study.day.p95:.1f} s at 95%"),
        ("a user alone", f"{sized.single_user.p95:.1f} s at 95%"),
        ("each replica", f"{peak_hour.running:.1f} requests at once"),
        (
            "KV cache of each",
            f"{replica.cache_tokens:,} tokens, {peak_hour.cached / replica.cache_tokens:.0%} in use at most",
        ),
    ]
    if sized.fewer is not None:
        rows.append(("one replica fewer", f"{sized.fewer.p95:.1f} s at 95%"))
    return rows


def assumptions(study: Study) -> list[str]:
    """The assumptions behind the results, one sentence each."""
    workload, efficiency, replica = study.inputs.workload, study.inputs.efficiency, study.replica
    if workload.hourly is None:
        request_rate = f"each asks again {workload.think:g} s after an answer, on average (--think)"
    else:
        request_rate = f"each asks {workload.hourly:g} times an hour, whenever it comes (--requests-per-hour)"
    lengths = f"{workload.prompt} tokens of prompt and {workload.answer} of answer"
    variation = f"on average, and varies by {workload.spread:g} of it" if workload.spread else "all alike"
    result = [
        f"{workload.users} users are there in the busiest hour, and {request_rate}.",
        f"A request has {lengths}, {variation} (--spread); nothing of it is cached.",
        f"The busiest hour has {workload.peak_share:.0%} of a day's requests (--peak-share).",
        f"A step of vLLM takes up to {replica.limits.tokens} tokens and {replica.limits.sequences} requests.",
        "The users are spread evenly over the replicas, and stay; where each request goes by chance, some wait longer.",
    ]
    if study.inputs.loads:
        return [*result, "What a step costs was fitted to what was measured (--measured)."]
    return [*result, *_data_sheet_assumptions(study, efficiency.memory, efficiency.compute)]


def _data_sheet_assumptions(study: Study, memory: float, compute: float) -> Iterator[str]:
    gpu = find_gpu(study.replica.name)
    bandwidth, flops = (gpu.bandwidth or 0) / 1e9, (gpu.flops or 0) / 1e12
    yield f"Memory is read with {memory:g} of the {bandwidth:,.0f} GB/s of the data sheet (--memory-efficiency)."
    yield f"A prompt is computed with {compute:g} of the {flops:g} TFLOPS of the data sheet (--compute-efficiency)."
    if study.plan.tensor_parallel_size > 1:
        link, share = LINK_BYTES[gpu.link] / 1e9, study.inputs.efficiency.link
        interconnect = "NVLink" if gpu.link is Link.NVLINK else "PCIe"
        yield f"Cards send each other {share:g} of {link:g} GB/s over {interconnect}."
    yield f"A step takes {1000 * study.replica.cost.fixed:.1f} ms beside that."
    yield "No GPU was measured for this: measure one with `maritalk-vllm bench --out FILE`, and give --measured FILE."


def as_data(study: Study) -> dict[str, Any]:
    """The study as JSON data; times in seconds, lengths in tokens, sizes in bytes."""
    replica = study.replica
    return {
        "fits": True,
        "model": study.plan.model,
        "users": study.inputs.workload.users,
        "cards": study.gpus,
        "card": replica.name,
        "replicas": study.sized.replicas,
        "cards_per_replica": replica.cards,
        "workload": asdict(study.inputs.workload),
        "step": asdict(replica.cost),
        "limits": {**asdict(replica.limits), "cache_tokens": replica.cache_tokens},
        "busiest_hour": asdict(study.sized.peak_hour),
        "one_replica_fewer": asdict(study.sized.fewer) if study.sized.fewer else None,
        "alone": asdict(study.sized.single_user),
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
"""Keys of a study that are null in an error."""


def error_as_data(error: MariTalkError) -> dict[str, Any]:
    """An error as JSON data, with the keys of `as_data`."""
    nulls: dict[str, Any] = dict.fromkeys(_KEYS)
    description = {"code": error.code, "message": error.message, "hint": error.hint}
    return {"fits": False, **nulls, "considered": [], "assumptions": [], "plan": None, "error": description}
