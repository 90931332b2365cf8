"""The memory plan compared with starts of vLLM that others logged: benchmarks/memory_logs.json, with sources."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from maritalk_vllm.hardware.gpu_catalog import hypothetical_machine
from maritalk_vllm.models.architecture import ModelArchitecture
from maritalk_vllm.models.memory_footprint import MemoryFootprint, llama_footprint
from maritalk_vllm.planning.candidate import Parallelism, assess
from maritalk_vllm.planning.gpu_selection import has_nvlink
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.settings import Settings

_LOGS = Path(__file__).with_name("memory_logs.json")
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedStart:
    """A start of vLLM: what it was, and the GiB on each GPU that it logged for weights and KV cache.

    The plan's own weights are those of a Llama of the model's sizes. `weights_from_log` replaces them for a model of
    another form: quantized, multimodal, or a mixture of experts.
    """

    model: str
    gpu: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpu_memory_utilization: float
    vllm: str
    weights_gib_logged: float
    kv_gib_logged: float
    weights_from_log: bool
    source: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The plan for a logged start, in GiB on each GPU."""

    start: LoggedStart
    weights: float
    overhead: float
    kv_cache: float

    @property
    def excess(self) -> float:
        """Planned minus logged GiB of KV cache."""
        return self.kv_cache - self.start.kv_gib_logged

    @property
    def error(self) -> float:
        """The excess in percent of the logged KV cache."""
        return self.excess / self.start.kv_gib_logged * 100


def accuracies(logs: Path = _LOGS) -> list[Accuracy]:
    """Plan every logged start, with vLLM's default limits of its GPU."""
    content = json.loads(logs.read_text())
    footprints = {
        name: llama_footprint(msgspec.convert(sizes, ModelArchitecture), tied=sizes["tied"])
        for name, sizes in content["models"].items()
    }
    return [_plan(start, footprints[start.model]) for start in msgspec.convert(content["starts"], list[LoggedStart])]


def _plan(start: LoggedStart, footprint: MemoryFootprint) -> Accuracy:
    settings = Settings(gpu_memory_utilization=start.gpu_memory_utilization)
    requirements = ModelRequirements.from_settings(start.model, footprint, None, settings)
    parallelism = Parallelism(start.tensor_parallel_size, start.pipeline_parallel_size)
    machine = hypothetical_machine(f"{parallelism.gpu_count}x{start.gpu}")
    nvlink = has_nvlink(machine.gpus, machine.links)
    planned = assess(requirements, footprint, parallelism, machine.gpus[0], nvlink=nvlink)
    weights = start.weights_gib_logged if start.weights_from_log else planned.weights_bytes / _GIB
    overhead = planned.overhead_bytes / _GIB
    return Accuracy(start, weights, overhead, planned.budget_bytes / _GIB - weights - overhead)


def table(rows: Sequence[Accuracy]) -> list[str]:
    """The accuracies as a Markdown table, all memory in GiB on each GPU."""
    lines = [
        "| model | GPUs | vLLM | weights: plan | logged | overhead: plan | KV cache: plan | logged | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        start = row.start
        sizes = (("TP", start.tensor_parallel_size), ("PP", start.pipeline_parallel_size))
        split = "".join(f", {name} {size}" for name, size in sizes if size > 1)
        gpus = f"{start.tensor_parallel_size * start.pipeline_parallel_size} x {start.gpu}{split}"
        weights = "as logged" if start.weights_from_log else f"{row.weights:.2f}"
        model = f"{start.model} ({start.note})" if start.note else start.model
        lines.append(
            f"| {model} | {gpus} | {start.vllm} | {weights} | {start.weights_gib_logged:.2f} | {row.overhead:.2f} "
            f"| {row.kv_cache:.2f} | {start.kv_gib_logged:.2f} | {row.error:+.1f}% |"
        )
    return lines


def summary(rows: Sequence[Accuracy]) -> str:
    """Mean, median and worst error of the KV cache, and how often and by how much the plan promised too much."""
    errors = [abs(row.error) for row in rows]
    promised = [row.excess for row in rows if row.excess > 0]
    close = sum(error <= 4 for error in errors) / len(errors)
    return (
        f"KV cache of {len(rows)} starts: the error is {statistics.median(errors):.1f}% by the median, "
        f"{statistics.mean(errors):.1f}% by the mean and {max(errors):.1f}% at worst; {close:.0%} are within 4%. "
        f"{len(promised)} were promised too much, by {max(promised, default=0.0):.2f} GiB at most."
    )
