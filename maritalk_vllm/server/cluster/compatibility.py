"""Settings and versions that must be equal on all nodes of a group."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ... import __version__
from ...errors import DoesNotFit, MariTalkError, UsageError
from ...i18n.message import joined, msg
from ...planning.plan import Plan

_HARDWARE_KEYS = {"cards", "card", "tensor_parallel_size", "pipeline_parallel_size", "dtype"}
_SHOWN_CHARACTERS = 200


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """A node's values. `vllm`: the installed version; `cards`: the number of GPUs in use.

    `model` is the name in the plan, which tells the quantized variants of a model apart.
    """

    version: str = __version__
    vllm: str
    nodes: int
    model: str
    device: str
    dtype: str
    cards: int
    card: str | None
    tensor_parallel_size: int
    pipeline_parallel_size: int

    def terms(self) -> dict[str, Any]:
        """Return the values as plain data, as nodes of all versions exchange them."""
        return msgspec.structs.asdict(self)


def compatibility(plan: Plan, vllm: str) -> Compatibility:
    """Return a node's values. `vllm`: the installed version."""
    return Compatibility(
        vllm=vllm,
        nodes=plan.nodes,
        model=plan.model,
        device=plan.device.value,
        dtype=plan.dtype,
        cards=len(plan.gpus),
        card=plan.gpus[0].name if plan.gpus else None,
        tensor_parallel_size=plan.tensor_parallel_size,
        pipeline_parallel_size=plan.pipeline_parallel_size,
    )


def find_mismatch(rank: int, theirs: Mapping[str, Any], ours: Compatibility) -> MariTalkError | None:
    """Compare the terms of the follower with this rank with the leader's; return None if they match.

    A follower of another version may lack some of `theirs`, and have others, which are ignored. Returns DoesNotFit if
    only values that follow from the hardware differ, and UsageError otherwise.
    """
    our_terms = ours.terms()
    different = [name for name, value in our_terms.items() if theirs.get(name) != value]
    if not different:
        return None
    differences = joined(
        "; ",
        (
            msg("{name} {theirs}, not {ours}", name=name, theirs=_shown(theirs.get(name)), ours=our_terms[name])
            for name in different
        ),
    )
    kind = DoesNotFit if _HARDWARE_KEYS.issuperset(different) else UsageError
    return kind(
        msg("Node {number} does not match node 0: {differences}.", number=rank, differences=differences),
        "Give every node the same options and versions, and machines with the same cards free.",
    )


def _shown(value: object) -> str:
    """A follower's term as text. Any host may have sent it: it may be long, or nested too deeply for `str`."""
    return str(value)[:_SHOWN_CHARACTERS] if isinstance(value, str | int | float | None) else type(value).__name__
