"""Environment variables of vLLM's processes."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from ..hardware.cuda_host import cuda_host
from ..hardware.cuda_visible_devices import ORDER, VARIABLE
from ..hardware.network import Route
from ..planning.plan import Plan
from ..settings import OPTIONS, Device, environment_variable
from .temperature_patch import OPT_IN

_CACHE = "VLLM_CACHE_ROOT"
HOST_IP = "VLLM_HOST_IP"
"""The address that a node announces to the other nodes."""


def compile_cache(cache_dir: Path) -> Path:
    """Folder in which vLLM caches compiled graphs and measurements on a GPU, so that only a first start makes them."""
    return Path(os.environ.get(_CACHE) or cache_dir / "vllm")


def environment_without_secrets() -> dict[str, str]:
    """Return this process's environment without the licence and the API keys."""
    secrets = {environment_variable(name) for name, field in OPTIONS.items() if field.metadata.get("secret")}
    return {name: value for name, value in os.environ.items() if name not in secrets}


def engine_environment(
    plan: Plan, temporary_folder: Path, cache_dir: Path, metrics_folder: Path | None = None
) -> dict[str, str]:
    """Return this process's environment adapted for the engine: no secrets, only the GPUs or cores of the plan.

    `metrics_folder`: where several API processes write their metrics; None for one alone.
    """
    environment = environment_without_secrets()
    # Development mode adds unauthenticated routes that inspect and change the engine.
    environment.pop("VLLM_SERVER_DEV_MODE", None)
    # Only the supervisor notifies systemd.
    environment.pop("NOTIFY_SOCKET", None)
    # In multiprocess mode, a process that serves /metrics alone would report files of earlier processes.
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if metrics_folder is not None:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_folder)
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    # The HTTP exporter needs no library with its own threads, unlike gRPC; threads do not survive a fork.
    environment.setdefault("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    # The API process waits while the engine loads, for 10 minutes by default: --start-timeout limits a start.
    environment.setdefault("VLLM_ENGINE_READY_TIMEOUT_S", "1000000")
    environment["TMPDIR"] = environment["VLLM_RPC_BASE_PATH"] = str(temporary_folder)
    environment["PYTHONUNBUFFERED"] = environment[OPT_IN] = "1"
    if plan.device is Device.CPU:
        environment["LD_PRELOAD"] = _with_libgomp(environment)
        # Even with --enforce-eager, vLLM compiles helpers (such as logprobs) with torch at first use: 18 seconds on two
        # cores, with no gain on a CPU.
        environment.setdefault("TORCHDYNAMO_DISABLE", "1")
        if "OMP_WAIT_POLICY" not in environment:
            # OpenMP threads busy-wait, by default long enough to do so between the parts of a step too, on the cores
            # that the API process needs: on two cores, streams ran at two thirds of the speed.
            environment.setdefault("GOMP_SPINCOUNT", "5000")
        if plan.workers > 1 or len(plan.cores[0]) == 1:
            # OpenMP reads it when the first process loads it: vLLM sets it later, for each worker. On all cores its
            # default is better: as many threads as physical cores.
            environment.setdefault("OMP_NUM_THREADS", str(len(plan.cores[0])))
        if plan.workers > 1:
            # By default vLLM binds one worker to each NUMA node, rejects more workers than NUMA nodes, and reserves a
            # core for an engine that may run on another node of a group.
            shares = "|".join(",".join(map(str, cores)) for cores in plan.cores)
            environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", shares)
    else:
        environment[VARIABLE] = ",".join(gpu.uuid for gpu in plan.gpus)
        environment[ORDER] = "PCI_BUS_ID"
        # VLLM_ENABLE_STARTUP_PLAN, which would keep a measured size of the KV cache here, stays unset: its key lacks
        # --gpu-memory-utilization, and later starts subtract the memory of CUDA graphs twice, so that they get a
        # smaller cache than the first, or are refused (vLLM's issues #57936 and #54383).
        environment[_CACHE] = str(compile_cache(cache_dir))
        if not cuda_host(environment).can_use_flashinfer:
            # vLLM's default sampler is FlashInfer's, which is compiled at a start, and nothing replaces it if that
            # fails. Its own sampler needs no toolkit.
            environment.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
    return environment


def group_environment(route: Route) -> dict[str, str]:
    """Variables that select the network interface to the other nodes, except those that the user has set."""
    # By default vLLM uses the interface of the default route, and gloo that of the host name.
    variables = {HOST_IP: route.address}
    if route.interface is not None:
        variables |= {"GLOO_SOCKET_IFNAME": route.interface, "NCCL_SOCKET_IFNAME": f"={route.interface}"}
    return {name: value for name, value in variables.items() if name not in os.environ}


def _with_libgomp(environment: Mapping[str, str]) -> str:
    # vLLM preloads torch's OpenMP in spawned workers, because a thread-bound worker uses only one core without it
    # (vllm/platforms/cpu.py). Our workers are forked, so the first process must preload it.
    preloaded = environment.get("LD_PRELOAD", "")
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None or "omp" in preloaded:
        return preloaded
    libraries = sorted((Path(torch.origin).parent / "lib").glob("libgomp*.so*"))
    return ":".join(filter(None, [preloaded, *map(str, libraries[:1])]))
