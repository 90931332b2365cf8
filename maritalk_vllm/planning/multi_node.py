"""Split a model over several nodes, which are assumed to be identical. Pure."""

from collections.abc import Sequence

from ..errors import DoesNotFit
from .memory_estimate import Parallelism
from .model_requirements import ModelRequirements


def even_splits(
    requirements: ModelRequirements, tensor: Sequence[int], gpu_count: int, layers: int
) -> list[Parallelism]:
    """Return every even split over up to `gpu_count` GPUs per node, best first.

    Tensor parallelism stays within a node, as wide as the model allows, and the layers are spread over the nodes,
    unless the user asks otherwise: a shared layer waits for its slowest link twice, a pipeline stage only once.
    """
    max_gpus = requirements.nodes * gpu_count
    stages = (
        [requirements.pipeline_parallel_size]
        if requirements.pipeline_parallel_size
        else range(requirements.nodes, max_gpus + 1, requirements.nodes)
    )
    found = [Parallelism(tp, pp) for tp in tensor for pp in stages if tp * pp <= max_gpus and pp <= max(1, layers)]
    even = [split for split in found if is_even(requirements.nodes, split)]
    return sorted(even, key=lambda split: (split.pipeline, -split.tensor))


def is_even(nodes: int, parallelism: Parallelism) -> bool:
    """Whether all nodes have the same number of workers, and each holds whole stages or part of a single one."""
    per_node, rest = divmod(parallelism.gpu_count, nodes)
    return not rest and (per_node % parallelism.tensor == 0 or parallelism.tensor % per_node == 0)


def check_even(requirements: ModelRequirements, parallelism: Parallelism) -> None:
    """Raises DoesNotFit if the nodes cannot each hold a part of the same size."""
    if not is_even(requirements.nodes, parallelism):
        parts = f"{parallelism.tensor} tensor x {parallelism.pipeline} pipeline parallel"
        raise DoesNotFit(
            f"{requirements.nodes} nodes cannot share {parts} evenly.",
            f"Leave --pipeline-parallel-size out, or give a multiple of {requirements.nodes}.",
        )


def describe_nodes(nodes: int, gpu_count: int, name: str) -> str:
    """`4 x NVIDIA A10`, or `2 nodes of 4 x NVIDIA A10`."""
    return f"{gpu_count} x {name}" if nodes == 1 else f"{nodes} nodes of {gpu_count} x {name}"
