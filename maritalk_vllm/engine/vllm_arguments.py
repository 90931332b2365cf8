"""Translate a plan to vLLM's command-line flags."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import UsageError
from ..i18n.message import msg
from ..planning.plan import Plan
from ..settings import Device, DistributedBackend, LogFormat, Settings
from . import cpu_pipeline_worker
from .allreduce_fusion import fusion_size_mb, with_fusion_size
from .sampling import DEFAULT_TEMPERATURE, DEFAULT_TOP_P

# The plan depends on these flags, so passing them directly to vLLM would invalidate it.
_PLANNED = (
    "--model",
    "--host",
    "--port",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--max-model-len",
    "--gpu-memory-utilization",
)
_ALIASES = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "--device-memory-utilization": "--gpu-memory-utilization",
}
_REPLICAS = "use --replicas before the `--`"
_RESERVED = {
    **{flag: msg("use {flag} before the `--`", flag=flag) for flag in _PLANNED},
    **{alias: msg("use {flag} before the `--`", flag=flag) for alias, flag in _ALIASES.items()},
    "--data-parallel-size": _REPLICAS,
    "-dp": _REPLICAS,
    **dict.fromkeys(
        ("--nnodes", "-n", "--node-rank", "-r", "--master-addr", "--master-port", "--headless"),
        "use --nodes, --node-rank and --head before the `--`",
    ),
    "--api-key": "use --api-key before the `--`, which guards every route",
    "--uds": "the server listens on a port",
    "--disable-log-stats": "the times in each answer come from these figures",
    **dict.fromkeys(("--api-server-count", "-asc"), "use --api-processes before the `--`"),
    **dict.fromkeys(
        ("--numa-bind", "--numa-bind-nodes", "--numa-bind-cpus"),
        "workers are forked, and it binds only new programs: start the server itself with numactl",
    ),
}

_API = (
    # Serve the assets of /docs from vLLM's own package: many GPU hosts have no internet access.
    "--enable-offline-docs",
    # Defaults for requests, from Maritaca's API reference and every MariTalk client.
    "--override-generation-config",
    json.dumps({"temperature": DEFAULT_TEMPERATURE, "top_p": DEFAULT_TOP_P}),
    # CORS: no other origins, unless the user names them.
    "--allowed-origins",
    "[]",
    # Interactive requests, flex and batches in this order. Without the latter, it orders by arrival, as fcfs does.
    "--scheduling-policy",
    "priority",
)

MIN_QUEUED_REQUESTS = 256
QUEUED_REQUESTS_PER_SLOT = 64
"""Maximum requests, running and queued, for each full-length request that fits in the KV cache: most requests of a real
load are a sixteenth as long, and three may wait for each that runs."""

QUEUED_PROMPTS_RATIO = 4
"""Maximum tokens of queued prompts, as a multiple of the KV cache."""


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Rank of this node, address at which vLLM's processes of all nodes connect, and distributed backend."""

    rank: int
    head: str
    port: int
    backend: DistributedBackend

    def flags(self, nodes: int) -> list[str]:
        """vLLM's flags for a group of `nodes` nodes."""
        if self.backend is DistributedBackend.RAY:
            return ["--distributed-executor-backend", "ray"]
        master = ["--master-addr", self.head, "--master-port", str(self.port)]
        return ["--distributed-executor-backend", "mp", "--nnodes", str(nodes), "--node-rank", str(self.rank), *master]


def observability_flags(settings: Settings) -> list[str]:
    """vLLM's flags for its log format and traces."""
    flags = []
    if settings.log_format is LogFormat.JSON:
        flags += ["--logging-config.formatter", "json"]
    if settings.otlp_traces_endpoint:
        flags += ["--otlp-traces-endpoint", settings.otlp_traces_endpoint]
    return flags


def engine_arguments(
    plan: Plan,
    name: str,
    location: str,
    more: Sequence[str],
    tool_call_parser: str | None = None,
    chat_template_arguments: Mapping[str, bool | str] = MappingProxyType({}),
    group: Rendezvous | None = None,
    attention_backend: str | None = None,
) -> list[str]:
    """Return vLLM's flags for this plan. Raises UsageError for a reserved flag in `more`.

    `more`: the user's own flags, which come last and take precedence. `group`: the rendezvous of several nodes.
    `attention_backend`: None for vLLM's own choice.
    """
    check_reserved_flags(more)
    arguments = ["--model", location, "--served-model-name", name, "--dtype", plan.dtype, *_API]
    if plan.device is Device.CPU:
        # On a CPU, torch.compile extends startup from seconds to minutes and gains little.
        arguments += ["--enforce-eager", "--worker-cls", cpu_pipeline_worker.NAME]
    if tool_call_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", tool_call_parser]
    if chat_template_arguments:
        arguments += ["--default-chat-template-kwargs", json.dumps(dict(chat_template_arguments))]
    for flag, value in (
        ("--attention-backend", attention_backend),
        ("--max-model-len", plan.max_model_len if plan.length_known else None),
        ("--kv-cache-memory-bytes", plan.kv_cache_bytes),
        ("--gpu-memory-utilization", plan.gpu_memory_utilization),
        ("--tensor-parallel-size", _unless_one(plan.tensor_parallel_size)),
        ("--pipeline-parallel-size", _unless_one(plan.pipeline_parallel_size)),
        ("--data-parallel-size", _unless_one(plan.data_parallel_size)),
        ("--max-num-queued-reqs", _max_queued_requests(plan)),
        ("--max-num-queued-tokens", plan.kv_cache_tokens and QUEUED_PROMPTS_RATIO * plan.kv_cache_tokens),
    ):
        if value is not None:
            arguments += [flag, str(value)]
    if group is not None:
        arguments += group.flags(plan.nodes)
    if (size_mb := fusion_size_mb(plan.gpus, plan.tensor_parallel_size)) is not None:
        more = with_fusion_size(more, size_mb)
    return [*arguments, *more]


def check_reserved_flags(arguments: Sequence[str]) -> None:
    """Raise UsageError for a flag that one of our own options controls."""
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag in _RESERVED:
            raise UsageError(msg("{flag} cannot be given to vLLM: {ours}.", flag=flag, ours=_RESERVED[flag]))


def _max_queued_requests(plan: Plan) -> int:
    return max(MIN_QUEUED_REQUESTS, round(QUEUED_REQUESTS_PER_SLOT * (plan.max_concurrency or 0)))


def _unless_one(size: int) -> int | None:
    return size if size > 1 else None
