"""The flags of an engine that computes nothing: vLLM with the worker of null_worker.py, which this does not import."""

import json


def flags(*, step_ms: float = 0, kv_gib: float = 2) -> tuple[str, ...]:
    """vLLM's flags for a worker whose steps take `step_ms` and whose KV cache has `kv_gib` that are never allocated.

    The engine's processes have to find this package: the repository's root is in their PYTHONPATH.
    """
    options = json.dumps({"step_ms": step_ms, "kv_gib": kv_gib})
    return ("--worker-cls", "benchmarks.null_worker.NullWorker", "--additional-config", options)
