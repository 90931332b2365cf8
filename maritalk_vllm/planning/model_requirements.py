"""The input of a plan: a model, and the user's options. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ..errors import UsageError
from ..i18n.message import msg
from ..models.architecture import BLOCK_TOKENS
from ..models.catalogue import Variant
from ..models.memory_footprint import MemoryFootprint
from ..models.profile import MIN_COMPUTE_CAPABILITY, Profile
from ..settings import Device, Settings
from .memory_flags import Flags

MIN_CONTEXT = 4096
"""Minimum context of a plan in tokens, if the model allows it and the user did not ask for another length."""

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequirements:
    """A model's memory requirements, and the user's options, None where not set.

    `footprint` includes the effect of `flags`, and is None for a model of unknown size. `doubt` is a sentence that
    gives the origin of the footprint, or why it is missing, unless it was read from the weights. `max_model_len` is
    the longest context that the model or its profile allows. `replicas` is None for as many as fit. `flags` are the
    flags for vLLM that change its memory use. `variant` is the quantized checkpoint of the catalogue that this is, and
    `choice` says why this checkpoint of the model was chosen, empty if there was no choice.
    """

    name: str
    profile: Profile | None
    footprint: MemoryFootprint | None
    max_model_len: int | None
    requested_max_len: int | None
    tensor_parallel_size: int | None
    pipeline_parallel_size: int | None
    replicas: int | None
    gpu_memory_utilization: float | None
    nodes: int = 1
    flags: Flags = Flags()
    doubt: str = ""
    variant: Variant | None = None
    choice: str = ""

    @classmethod
    def from_settings(
        cls,
        name: str,
        footprint: MemoryFootprint | None,
        profile: Profile | None,
        settings: Settings,
        doubt: str = "",
        variant: Variant | None = None,
    ) -> Self:
        """Raises UsageError if --replicas is neither a number nor `auto`."""
        flags = Flags.parse(settings.engine_args, footprint)
        own = footprint.shape.max_model_len if footprint else None
        return cls(
            name=name,
            profile=profile,
            footprint=flags.applied(footprint) if footprint else None,
            max_model_len=(profile.max_model_len if profile else None) or own,
            requested_max_len=settings.max_model_len,
            tensor_parallel_size=settings.tensor_parallel_size,
            pipeline_parallel_size=settings.pipeline_parallel_size,
            replicas=_replicas(settings.replicas),
            gpu_memory_utilization=settings.gpu_memory_utilization,
            nodes=settings.nodes,
            flags=flags,
            doubt=doubt,
            variant=variant,
        )

    @property
    def title(self) -> str:
        """Display name of the model."""
        return self.profile.title if self.profile else self.name

    @property
    def lowest_capability(self) -> tuple[int, int]:
        """Minimum compute capability."""
        return self.profile.min_compute_capability if self.profile else MIN_COMPUTE_CAPABILITY

    @property
    def runs_on_cpu(self) -> bool:
        """Whether the model may be served on a CPU.

        No quantized variant is: of FP8, vLLM's CPU build has kernels for processors with AMX alone
        (kernels/linear/scaled_mm/cpu.py), and its W4A16 was never measured here.
        """
        return self.variant is None and (self.profile is None or Device.CPU in self.profile.devices)

    @property
    def total_gpu_memory_bytes(self) -> int:
        """Minimum total memory of one replica's GPUs, from the MariTalk Local document; 0 without a profile."""
        return self.profile.gpu_memory_gb * 10**9 if self.profile else 0

    @property
    def target_max_len(self) -> int | None:
        """The context that the user asked for, or else the model's own maximum, in tokens; None if unknown."""
        return self.requested_max_len or self.max_model_len

    @property
    def planned_max_len(self) -> int:
        """The context that a split should hold, in tokens: the target, or the minimum if the target is unknown."""
        return self.target_max_len or self.min_max_len

    @property
    def min_max_len(self) -> int:
        """The shortest context with which a plan is accepted, in tokens."""
        return self.requested_max_len or min(MIN_CONTEXT, self.max_model_len or MIN_CONTEXT)

    def longest_context(self, available_bytes: int, request_bytes: Callable[[int], int]) -> int:
        """The longest request that `available_bytes` of KV cache hold, in tokens, up to `planned_max_len`.

        `request_bytes` is the KV cache of a request, by its tokens. A request of `min_max_len` is known to fit.
        """
        if request_bytes(self.planned_max_len) <= available_bytes:
            return self.planned_max_len
        low, high = self.min_max_len // BLOCK_TOKENS, self.planned_max_len // BLOCK_TOKENS
        while low < high:
            middle = (low + high + 1) // 2
            if request_bytes(middle * BLOCK_TOKENS) <= available_bytes:
                low = middle
            else:
                high = middle - 1
        return max(self.min_max_len, low * BLOCK_TOKENS)

    @property
    def unchecked_reasons(self) -> tuple[str, ...]:
        """The reasons why the memory cannot be checked; empty if everything that counts is known."""
        reasons = []
        if self.footprint is None:
            known = (
                "Its size is unknown"
                if self.doubt
                else msg("{title} is not on this machine and its size is unknown", title=self.title)
            )
            reasons.append(msg("{known}: nothing was checked against it.", known=known))
        elif unknown := self.footprint.shape.unknown:
            names = ", ".join(name.replace("_", " ") for name in unknown)
            reasons.append(
                msg(
                    "Neither the configuration of {title} nor its weights say its {names}.",
                    title=self.title,
                    names=names,
                )
            )
        if self.flags.may_increase:
            flags = ", ".join(self.flags.may_increase)
            reasons.append(msg("The plan does not count {flags}, which may make vLLM use more memory.", flags=flags))
        if self.flags.estimated:
            flags = ", ".join(self.flags.estimated)
            reasons.append(msg("The plan estimates what {flags} takes: vLLM may use more memory.", flags=flags))
        return tuple(reasons)

    def reason_to_try_anyway(self, shortage: str) -> str | None:
        """Why to try a model for which memory is short by what is counted; None without flags that may reduce it."""
        uncounted = ", ".join(self.flags.may_reduce)
        if not uncounted:
            return None
        return msg(
            "By the plan's estimate, memory is short ({short}). It does not count {flags}: the model is tried.",
            short=shortage,
            flags=uncounted,
        )


def _replicas(text: str) -> int | None:
    if text == AUTO:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(
            msg("--replicas is {text!r}.", text=text), msg("Give a number from 1 on, or {auto}.", auto=AUTO)
        )
    return int(text)
