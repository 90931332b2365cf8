"""The user's vLLM flags that change its memory use: those that a plan counts, and the others. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..models.memory_footprint import MemoryFootprint
from .batch_limits import BatchLimits

_SHORT = {"-q": "--quantization", "-sc": "--speculative-config"}

_FP8 = {"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel"}
"""Methods with which vLLM quantizes 16-bit weights while loading: one byte per number in each linear layer."""

_CACHE_TYPES = {
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"), "fp8"),
    "bfloat16": "bfloat16",
    "float16": "float16",
}
_TYPES = {"half": "float16", "float": "float32", **{name: name for name in ("float16", "bfloat16", "float32")}}

_MAY_REDUCE = {"--cpu-offload-gb", "--quantization", "--kv-cache-dtype"}
_MAY_INCREASE = {"--enable-lora", "--hf-overrides", "--kv-cache-memory-bytes", "--speculative-config"}
_FORMATS_THAT_QUANTIZE = {"bitsandbytes", "gguf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags that a plan counts, None where not given: dtypes by name, and vLLM's limits per step.

    `may_reduce` are the uncounted flags that let vLLM use less memory than planned, `may_increase` those that may let
    it use more: a plan with one of the latter is never said to fit.
    """

    quantization: str | None = None
    cache_dtype: str | None = None
    dtype: str | None = None
    sequences: int | None = None
    batched_tokens: int | None = None
    eager: bool = False
    may_reduce: tuple[str, ...] = ()
    may_increase: tuple[str, ...] = ()

    @classmethod
    def parse(cls, arguments: Sequence[str], footprint: MemoryFootprint | None) -> Self:
        """Parse the flags as vLLM would for this model: the last value of a flag wins."""
        given = read_flags(arguments)
        quantized = footprint is not None and footprint.shape.quantization is not None
        quantization, cache = given.get("--quantization"), given.get("--kv-cache-dtype", "auto")
        counted = {
            # The size of a quantized checkpoint already reflects its quantization.
            "--quantization": quantized or quantization in _FP8,
            "--kv-cache-dtype": cache == "auto" or cache in _CACHE_TYPES,
        }
        may_reduce = {flag for flag in _MAY_REDUCE.intersection(given) if not counted.get(flag)}
        if given.get("--load-format") in _FORMATS_THAT_QUANTIZE:
            may_reduce.add("--load-format")
        may_increase = _MAY_INCREASE.intersection(given)
        numbers = {flag: _number(given.get(flag)) for flag in ("--max-num-seqs", "--max-num-batched-tokens")}
        return cls(
            quantization=quantization if quantization in _FP8 and not quantized else None,
            cache_dtype=_CACHE_TYPES.get(cache),
            dtype=_TYPES.get(given.get("--dtype", "auto")),
            sequences=numbers["--max-num-seqs"],
            batched_tokens=numbers["--max-num-batched-tokens"],
            eager="--enforce-eager" in given,
            may_reduce=tuple(sorted(may_reduce)),
            may_increase=tuple(
                sorted(may_increase | {flag for flag, number in numbers.items() if flag in given and number is None})
            ),
        )

    def batch_limits(self, defaults: BatchLimits) -> BatchLimits:
        """The user's limits per step where given, else `defaults`."""
        return BatchLimits(self.batched_tokens or defaults.tokens, self.sequences or defaults.sequences)

    def applied(self, footprint: MemoryFootprint) -> MemoryFootprint:
        """The footprint of the model as vLLM loads it with these flags."""
        if self.dtype is not None:
            footprint = footprint.served_as(self.dtype)
        if self.quantization is None:
            return footprint
        bytes_per_number = {"float32": 4}.get(footprint.shape.dtype, 2)
        return replace(
            footprint,
            split_bytes=footprint.split_bytes // bytes_per_number,
            key_value_bytes=footprint.key_value_bytes // bytes_per_number,
            shape=replace(footprint.shape, quantization=self.quantization),
        )


def read_flags(arguments: Sequence[str]) -> Mapping[str, str]:
    """Map each flag to its last value, or to an empty string if it has none."""
    found: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        if not argument.startswith("-"):
            continue
        name, _, value = argument.partition("=")
        name = name.replace("_", "-")
        following = (
            arguments[index + 1] if index + 1 < len(arguments) and not arguments[index + 1].startswith("-") else ""
        )
        found[_SHORT.get(name, name)] = value or following
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None
