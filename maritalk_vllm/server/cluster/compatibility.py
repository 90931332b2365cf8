"""What all nodes of a group must agree on."""

from typing import Any

from ... import __version__
from ...errors import DoesNotFit, MariTalkError, UsageError
from ...planning.plan import Plan

Compatibility = dict[str, Any]

_HARDWARE_KEYS = {"cards", "card", "tensor_parallel_size", "pipeline_parallel_size", "dtype"}


def compatibility(plan: Plan, model: str, vllm: str) -> Compatibility:
    """Return a node's values as plain data. `model`: the served name; `vllm`: the installed version."""
    return {
        "version": __version__,
        "vllm": vllm,
        "nodes": plan.nodes,
        "model": model,
        "device": plan.device.value,
        "dtype": plan.dtype,
        "cards": len(plan.gpus),
        "card": plan.gpus[0].name if plan.gpus else None,
        "tensor_parallel_size": plan.tensor_parallel_size,
        "pipeline_parallel_size": plan.pipeline_parallel_size,
    }


def find_mismatch(rank: int, theirs: Compatibility, ours: Compatibility) -> MariTalkError | None:
    """Compare the values of the follower with this rank with the leader's; return None if they match.

    Returns DoesNotFit if only values that follow from the hardware differ, and UsageError otherwise.
    """
    different = [name for name, value in ours.items() if theirs.get(name) != value]
    if not different:
        return None
    differences = "; ".join(f"{name} {theirs.get(name)}, not {ours[name]}" for name in different)
    kind = DoesNotFit if _HARDWARE_KEYS.issuperset(different) else UsageError
    return kind(
        f"Node {rank} does not match node 0: {differences}.",
        "Give every node the same options and versions, and machines with the same cards free.",
    )
