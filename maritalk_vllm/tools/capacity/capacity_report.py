"""A capacity study as text and as data. Pure."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ...errors import MariTalkError
from ...hardware.gpu_catalog import find_gpu
from ...hardware.interconnect import Link
from ...i18n.message import Message, Number, msg, pluralized, tenths
from ...i18n.rendering import localized
from ...planning.plan_report import as_data as plan_as_data
from ...planning.roofline import LINK_BYTES
from ...text_format import table
from .capacity_study import Study


def report(study: Study) -> list[str]:
    """The lines of the report, in the selected language."""
    head = msg(
        "{title} for {users}: {gpus} x {name}, {replicas}.",
        title=study.inputs.requirements.title,
        users=user_count(study),
        gpus=study.gpus,
        name=study.replica.name,
        replicas=_replicas(study),
    )
    rows = [[localized(name), localized(value)] for name, value in _rows(study)]
    assumed = [f"  {localized(each)}" for each in assumptions(study)]
    considered = [f"  {localized(each)}" for each in study.considered]
    if considered:
        considered = ["", localized("Considered:"), *considered]
    return [localized(head), "", *table(rows), *considered, "", localized("Assumed:"), *assumed]


def user_count(study: Study) -> Message:
    """How many users the study is for: `50 users`."""
    return pluralized(study.inputs.workload.users, "{number} user", "{number} users")


def _replicas(study: Study) -> Message:
    replicas, cards = study.sized.replicas, study.replica.cards
    if cards == 1:
        return pluralized(replicas, "{number} replica", "{number} replicas")
    return pluralized(
        replicas, "{number} replica of {cards} cards", "{number} replicas of {cards} cards each", cards=cards
    )


def _rows(study: Study) -> list[tuple[str, str]]:
    sized, peak_hour, replica = study.sized, study.sized.peak_hour, study.replica
    latency, first = peak_hour.latency, peak_hour.first_token
    assert latency is not None and first is not None
    rows: list[tuple[str, str]] = [
        (
            "requests",
            msg("{number}/s in the busiest hour", number=Number(peak_hour.requests_per_second * sized.replicas, ".1f")),
        ),
        ("", msg("{number} a day", number=Number(study.day.requests))),
        (
            "whole answer",
            msg(
                "median {number} s, p95 {number2} s",
                number=Number(latency.p50, ".1f"),
                number2=Number(latency.p95, ".1f"),
            ),
        ),
        (
            "first token",
            msg(
                "median {number} s, p95 {number2} s",
                number=Number(first.p50, ".2f"),
                number2=Number(first.p95, ".2f"),
            ),
        ),
        ("over the whole day", msg("p95 {number} s", number=Number(study.day.p95, ".1f"))),
        ("a user alone", msg("p95 {number} s", number=Number(sized.single_user.p95, ".1f"))),
        (
            "each replica",
            pluralized(tenths(peak_hour.running), "{number} request at once", "{number} requests at once"),
        ),
        (
            "KV cache of each",
            msg(
                "{number} tokens, {share} in use at most",
                number=Number(replica.cache_tokens),
                share=Number(peak_hour.cached / replica.cache_tokens, ".0%"),
            ),
        ),
    ]
    context = msg("{number} tokens", number=Number(replica.longest))
    if study.inputs.is_shortened(replica):
        context = msg("{plan}, with --max-model-len {tokens}", plan=context, tokens=replica.longest)
    rows.append(("context", context))
    if sized.fewer is not None:
        rows.append(("one replica fewer", msg("p95 {number} s", number=Number(sized.fewer.p95, ".1f"))))
    return rows


def assumptions(study: Study) -> list[str]:
    """The assumptions behind the results, one sentence each."""
    workload, efficiency, replica = study.inputs.workload, study.inputs.efficiency, study.replica
    if workload.hourly is None:
        request_rate = msg(
            "asks again {number} s after an answer, on average (--think)", number=Number(workload.think, "g")
        )
    else:
        request_rate = pluralized(
            Number(workload.hourly, "g"),
            "asks {number} time an hour, independently of answers (--requests-per-hour)",
            "asks {number} times an hour, independently of answers (--requests-per-hour)",
        )
    lengths = msg("{prompt} tokens of prompt and {answer} of answer", prompt=workload.prompt, answer=workload.answer)
    variation = (
        msg("on average, and varies by {number} of it", number=Number(workload.spread, "g"))
        if workload.spread
        else "all alike"
    )
    result = [
        pluralized(
            workload.users,
            "{number} user is active in the busiest hour, and {asks}.",
            "{number} users are active in the busiest hour, and each {asks}.",
            asks=request_rate,
        ),
        msg(
            "A request has {lengths}, {varied} (--spread); nothing of it is cached.", lengths=lengths, varied=variation
        ),
        msg(
            "The busiest hour has {share} of a day's requests (--peak-share).", share=Number(workload.peak_share, ".0%")
        ),
        pluralized(
            replica.limits.sequences,
            "A step of vLLM takes up to {tokens} tokens and {number} request.",
            "A step of vLLM takes up to {tokens} tokens and {number} requests.",
            tokens=replica.limits.tokens,
        ),
        "The users are spread evenly over the replicas, and stay; where each request goes by chance, some wait longer.",
    ]
    if study.inputs.loads:
        return [*result, "What a step costs was fitted to what was measured (--measured)."]
    return [*result, *_data_sheet_assumptions(study, efficiency.memory, efficiency.compute)]


def _data_sheet_assumptions(study: Study, memory: float, compute: float) -> Iterator[str]:
    gpu = find_gpu(study.replica.name)
    bandwidth, flops = (gpu.bandwidth or 0) / 1e9, (gpu.flops or 0) / 1e12
    yield msg(
        "Memory is read with {memory} of the {bandwidth} GB/s of the data sheet (--memory-efficiency).",
        memory=Number(memory, "g"),
        bandwidth=Number(bandwidth, ",.0f"),
    )
    yield msg(
        "A prompt is computed with {compute} of the {flops} TFLOPS of the data sheet (--compute-efficiency).",
        compute=Number(compute, "g"),
        flops=Number(flops, "g"),
    )
    if study.plan.tensor_parallel_size > 1:
        link, share = LINK_BYTES[gpu.link] / 1e9, study.inputs.efficiency.link
        interconnect = "NVLink" if gpu.link is Link.NVLINK else "PCIe"
        yield msg(
            "Cards send each other {number} of {number2} GB/s over {link}.",
            number=Number(share, "g"),
            number2=Number(link, "g"),
            link=interconnect,
        )
    yield msg("A step takes {number} ms beside that.", number=Number(1000 * study.replica.cost.fixed, ".1f"))
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
