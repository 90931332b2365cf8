"""How a model is split over several machines, which are taken to be alike. Pure."""

from collections.abc import Sequence

from ..errors import DoesNotFit
from .memory_estimate import Parallelism
from .model_requirements import ModelRequirements


def splits(need: ModelRequirements, tensor: Sequence[int], cards: int, layers: int) -> list[Parallelism]:
    """Every even split over up to `cards` cards of each node, the best first.

    Tensor parallelism stays inside a node, as wide as the model allows, and the layers are spread over the nodes,
    unless the user says otherwise: a layer that is shared waits for its slowest link twice, a stage once.
    """
    most = need.nodes * cards
    stages = [need.pipeline_parallel_size] if need.pipeline_parallel_size else range(need.nodes, most + 1, need.nodes)
    found = [Parallelism(tp, pp) for tp in tensor for pp in stages if tp * pp <= most and pp <= max(1, layers)]
    even = [split for split in found if is_even(need.nodes, split)]
    return sorted(even, key=lambda split: (split.pipeline, -split.tensor))


def is_even(nodes: int, degrees: Parallelism) -> bool:
    """Whether each node has as many workers as any other, and whole stages or a part of one."""
    here, rest = divmod(degrees.cards, nodes)
    return not rest and (here % degrees.tensor == 0 or degrees.tensor % here == 0)


def check_even(need: ModelRequirements, degrees: Parallelism) -> None:
    """Raises DoesNotFit where the nodes cannot have a part of the same size each."""
    if not is_even(need.nodes, degrees):
        parts = f"{degrees.tensor} tensor x {degrees.pipeline} pipeline parallel"
        raise DoesNotFit(
            f"{need.nodes} nodes cannot share {parts} evenly.",
            f"Leave --pipeline-parallel-size out, or give a multiple of {need.nodes}.",
        )


def described(nodes: int, cards: int, name: str) -> str:
    """`4 x NVIDIA A10`, or `2 nodes of 4 x NVIDIA A10`."""
    return f"{cards} x {name}" if nodes == 1 else f"{nodes} nodes of {cards} x {name}"
