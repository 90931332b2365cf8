"""What the nodes of a group have to be of one mind about."""

from typing import Any

from ... import __version__
from ...errors import DoesNotFit, MariTalkError, UsageError
from ...planning.plan import Plan

Compatibility = dict[str, Any]

_OF_THE_MACHINE = {"cards", "card", "tensor_parallel_size", "pipeline_parallel_size", "dtype"}


def compatibility(plan: Plan, model: str, vllm: str) -> Compatibility:
    """A node's, as plain data. `model`: the name that it is served by; `vllm`: the installed version."""
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
    """Why the node of this rank cannot take part with its terms, by node 0's; None if it can."""
    differ = [name for name, value in ours.items() if theirs.get(name) != value]
    if not differ:
        return None
    told = "; ".join(f"{name} {theirs.get(name)}, not {ours[name]}" for name in differ)
    kind = DoesNotFit if _OF_THE_MACHINE.issuperset(differ) else UsageError
    return kind(
        f"Node {rank} is not as node 0 is: {told}.",
        "Give every node the same options and versions, and machines with the same cards free.",
    )
