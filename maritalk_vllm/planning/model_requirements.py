"""What is to be planned: a model, and what the user set. Pure."""

from dataclasses import dataclass
from typing import Self

from ..errors import UsageError
from ..models.memory_footprint import MemoryFootprint
from ..models.profile import MIN_COMPUTE_CAPABILITY, Profile
from ..settings import Settings
from .memory_flags import Flags

MIN_CONTEXT = 4096
"""Tokens that a plan holds at least, if the model can and the user asked for nothing else."""

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequirements:
    """A model with its demands, and the user's own choices, None where they left it open.

    `footprint` is None for a model whose size is unknown, counts `flags`, and `doubt` is a sentence on where it comes
    from, or why it is missing, if that is not the weights themselves. `max_model_len` is the longest context that
    the model itself, or its profile, allows. `replicas` is None for as many as there is room for. `flags` are
    those for vLLM itself that change what it takes.
    """

    name: str
    profile: Profile | None
    footprint: MemoryFootprint | None
    max_model_len: int | None
    wanted_max_model_len: int | None
    tensor_parallel_size: int | None
    pipeline_parallel_size: int | None
    replicas: int | None
    gpu_memory_utilization: float | None
    nodes: int = 1
    flags: Flags = Flags()
    doubt: str = ""

    @classmethod
    def of(
        cls, name: str, footprint: MemoryFootprint | None, profile: Profile | None, settings: Settings, doubt: str = ""
    ) -> Self:
        """Raises UsageError if --replicas is neither a number nor `auto`."""
        flags = Flags.of(settings.engine_args, footprint)
        own = footprint.shape.max_model_len if footprint else None
        return cls(
            name=name,
            profile=profile,
            footprint=flags.applied(footprint) if footprint else None,
            max_model_len=(profile.max_model_len if profile else None) or own,
            wanted_max_model_len=settings.max_model_len,
            tensor_parallel_size=settings.tensor_parallel_size,
            pipeline_parallel_size=settings.pipeline_parallel_size,
            replicas=_replicas(settings.replicas),
            gpu_memory_utilization=settings.gpu_memory_utilization,
            nodes=settings.nodes,
            flags=flags,
            doubt=doubt,
        )

    @property
    def title(self) -> str:
        """The model for people."""
        return self.profile.title if self.profile else self.name

    @property
    def lowest_capability(self) -> tuple[int, int]:
        """The least compute capability."""
        return self.profile.min_compute_capability if self.profile else MIN_COMPUTE_CAPABILITY

    @property
    def total_gpu_memory_bytes(self) -> int:
        """What the cards of one copy must have together, by the MariTalk Local document; 0 without a profile."""
        return self.profile.gpu_memory_gb * 10**9 if self.profile else 0

    @property
    def longest(self) -> int | None:
        """The context that is aimed at, in tokens."""
        return self.wanted_max_model_len or self.max_model_len

    @property
    def aim(self) -> int:
        """The context that a split should hold, in tokens: what is aimed at, or the least where nothing is known."""
        return self.longest or self.shortest

    @property
    def shortest(self) -> int:
        """The context under which a plan does not count, in tokens."""
        return self.wanted_max_model_len or min(MIN_CONTEXT, self.max_model_len or MIN_CONTEXT)


def _replicas(text: str) -> int | None:
    if text == AUTO:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"--replicas is {text!r}.", f"Give a number from 1 on, or {AUTO}.")
    return int(text)
