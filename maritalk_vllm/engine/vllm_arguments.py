"""A plan as the command line that vLLM knows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..planning.plan import Plan
from ..settings import Device, DistributedBackend, LogFormat, Settings
from . import cpu_pipeline_worker
from .sampling import DEFAULT_TEMPERATURE, DEFAULT_TOP_P

# The plan is made with these; behind its back they would make it wrong.
_BEFORE = (
    "--model",
    "--host",
    "--port",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--max-model-len",
    "--gpu-memory-utilization",
)
_SHORT = {"-tp": "--tensor-parallel-size", "-pp": "--pipeline-parallel-size"}
_REPLICAS = "use --replicas before the `--`"
_OURS = {
    **{flag: f"use {flag} before the `--`" for flag in _BEFORE},
    **{short: f"use {flag} before the `--`" for short, flag in _SHORT.items()},
    "--data-parallel-size": _REPLICAS,
    "-dp": _REPLICAS,
    **dict.fromkeys(
        ("--nnodes", "-n", "--node-rank", "-r", "--master-addr", "--master-port", "--headless"),
        "use --nodes, --node-rank and --head before the `--`",
    ),
    "--api-key": "use --api-key before the `--`, which guards every route",
    "--uds": "the server listens on a port",
    "--disable-log-stats": "the times in each answer come from these figures",
}

_API = (
    # /docs with what it shows from vLLM's own package: many GPU hosts have no way out.
    "--enable-offline-docs",
    # What a request leaves open, as Maritaca's API reference and every MariTalk client have it.
    "--override-generation-config",
    json.dumps({"temperature": DEFAULT_TEMPERATURE, "top_p": DEFAULT_TOP_P}),
    # Pages of other sites get no answers, unless the user names them.
    "--allowed-origins",
    "[]",
)

LEAST_REQUESTS = 256
REQUESTS_PER_USER = 64
"""How many requests are taken for each user at full context that there is room for: most of a real load's are a
sixteenth as long, and for each that runs three may wait."""

CACHES_OF_PROMPTS = 4
"""How many times the KV cache the prompts that wait may fill."""


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Which of several nodes this is, where vLLM's processes of all nodes meet, and what starts them."""

    rank: int
    head: str
    port: int
    backend: DistributedBackend

    def flags(self, nodes: int) -> list[str]:
        """As vLLM has them."""
        if self.backend is DistributedBackend.RAY:
            return ["--distributed-executor-backend", "ray"]
        where = ["--master-addr", self.head, "--master-port", str(self.port)]
        return ["--distributed-executor-backend", "mp", "--nnodes", str(nodes), "--node-rank", str(self.rank), *where]


def observability(settings: Settings) -> list[str]:
    """vLLM's flags for what the user wants to see of it."""
    wanted = []
    if settings.log_format is LogFormat.JSON:
        wanted += ["--logging-config.formatter", "json"]
    if settings.otlp_traces_endpoint:
        wanted += ["--otlp-traces-endpoint", settings.otlp_traces_endpoint]
    return wanted


def engine_arguments(
    plan: Plan,
    name: str,
    location: str,
    more: Sequence[str],
    tool_call_parser: str | None = None,
    group: Rendezvous | None = None,
) -> list[str]:
    """vLLM's flags for this plan, with the user's own last, so that theirs win. Raises UsageError for one of ours.

    `group`: where this node meets the others, if there are any.
    """
    refuse_ours(more)
    arguments = ["--model", location, "--served-model-name", name, "--dtype", plan.dtype, *_API]
    if plan.device is Device.CPU:
        # torch.compile takes a start from seconds to minutes on a CPU and gains little there.
        arguments += ["--enforce-eager", "--worker-cls", cpu_pipeline_worker.NAME]
    if tool_call_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", tool_call_parser]
    for flag, value in (
        ("--max-model-len", plan.max_model_len if plan.length_known else None),
        ("--kv-cache-memory-bytes", plan.kv_cache_bytes),
        ("--gpu-memory-utilization", plan.gpu_memory_utilization),
        ("--tensor-parallel-size", _more_than_one(plan.tensor_parallel_size)),
        ("--pipeline-parallel-size", _more_than_one(plan.pipeline_parallel_size)),
        ("--data-parallel-size", _more_than_one(plan.data_parallel_size)),
        ("--max-num-queued-reqs", _most_requests(plan)),
        ("--max-num-queued-tokens", plan.kv_cache_tokens and CACHES_OF_PROMPTS * plan.kv_cache_tokens),
    ):
        if value is not None:
            arguments += [flag, str(value)]
    if group is not None:
        arguments += group.flags(plan.nodes)
    return [*arguments, *more]


def refuse_ours(words: Sequence[str]) -> None:
    """Raises UsageError for a flag that an option of ours stands for."""
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if flag in _OURS:
            raise UsageError(f"{flag} cannot be given to vLLM: {_OURS[flag]}.")


def _most_requests(plan: Plan) -> int:
    return max(LEAST_REQUESTS, round(REQUESTS_PER_USER * (plan.max_concurrency or 0)))


def _more_than_one(size: int) -> int | None:
    return size if size > 1 else None
