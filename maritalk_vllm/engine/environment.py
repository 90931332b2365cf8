"""The environment that vLLM's processes start with."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from ..hardware.cuda_visible_devices import ORDER, VARIABLE
from ..hardware.network import Route
from ..planning.plan import Plan
from ..settings import Device, environment_variable
from .temperature_patch import OPT_IN

_CACHE = "VLLM_CACHE_ROOT"
HOST_IP = "VLLM_HOST_IP"
"""Which of its addresses a node tells the others."""


def compile_cache(cache_dir: Path) -> Path:
    """Where vLLM keeps on a GPU what it compiled and measured, so that only a first start does."""
    return Path(os.environ.get(_CACHE) or cache_dir / "vllm")


def engine_environment(plan: Plan, temporary_folder: Path, cache_dir: Path) -> dict[str, str]:
    """This process's environment, changed for the engine: without the licence, with the plan's cards or cores alone."""
    environment = dict(os.environ)
    for secret in ("license", "api_key"):
        environment.pop(environment_variable(secret), None)
    # Routes that show and change the inside of the engine, to whoever asks.
    environment.pop("VLLM_SERVER_DEV_MODE", None)
    # What systemd is told of the service is the supervisor's to say.
    environment.pop("NOTIFY_SOCKET", None)
    # One process answers /metrics. With this it would tell what the files of earlier ones hold, and not its own state.
    environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    # The exporter that needs no library with threads of its own, which a fork would not survive.
    environment.setdefault("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    environment["TMPDIR"] = environment["VLLM_RPC_BASE_PATH"] = str(temporary_folder)
    environment["PYTHONUNBUFFERED"] = environment[OPT_IN] = "1"
    if plan.device is Device.CPU:
        environment["LD_PRELOAD"] = _with_libgomp(environment)
        # vLLM compiles helpers (of logprobs, say) with torch at their first use, also with --enforce-eager: 18 seconds
        # on two cores, to gain nothing there.
        environment.setdefault("TORCHDYNAMO_DISABLE", "1")
        if "OMP_WAIT_POLICY" not in environment:
            # OpenMP's threads wait for each other busily, and by default for so long that they do it between a step's
            # parts too, on the cores that the API process needs: streams were two thirds as fast on two of them.
            environment.setdefault("GOMP_SPINCOUNT", "5000")
        if plan.workers > 1:
            # By itself vLLM binds one worker to one NUMA node, refuses more workers than there are, and keeps a core
            # free for an engine that another node of a group may have.
            shares = "|".join(",".join(map(str, cores)) for cores in plan.cores)
            environment.setdefault("VLLM_CPU_OMP_THREADS_BIND", shares)
    else:
        environment[VARIABLE] = ",".join(gpu.uuid for gpu in plan.gpus)
        environment[ORDER] = "PCI_BUS_ID"
        environment[_CACHE] = str(compile_cache(cache_dir))
        # What the KV cache may take is measured once for a model and a card, and again where less is free.
        environment.setdefault("VLLM_ENABLE_STARTUP_PLAN", "1")
    return environment


def group_environment(route: Route) -> dict[str, str]:
    """What the engine's processes of one node need to know of the way to the others; the user's own stays."""
    # By itself vLLM takes the interface of the way to the internet, and gloo that of the host's name.
    wanted = {HOST_IP: route.address}
    if route.interface is not None:
        wanted |= {"GLOO_SOCKET_IFNAME": route.interface, "NCCL_SOCKET_IFNAME": f"={route.interface}"}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def _with_libgomp(environment: Mapping[str, str]) -> str:
    # vLLM preloads torch's OpenMP in the workers that it spawns, since without it a thread-bound worker uses one core
    # (vllm/platforms/cpu.py). Ours are forked, so it has to be there from the first process on.
    preloaded = environment.get("LD_PRELOAD", "")
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None or "omp" in preloaded:
        return preloaded
    libraries = sorted((Path(torch.origin).parent / "lib").glob("libgomp*.so*"))
    return ":".join(filter(None, [preloaded, *map(str, libraries[:1])]))
