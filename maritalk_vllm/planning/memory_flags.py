"""The user's own flags for vLLM that change what it takes of memory: which a plan counts, and which not. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..models.memory_footprint import MemoryFootprint

_SHORT = {"-q": "--quantization", "-sc": "--speculative-config"}

_FP8 = {"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel"}
"""What vLLM makes of weights in 16 bits while it loads them: a byte a number in each linear layer."""

_CACHE_TYPES = {
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"), "fp8"),
    "bfloat16": "bfloat16",
    "float16": "float16",
}
_TYPES = {"half": "float16", "float": "float32", **{name: name for name in ("float16", "bfloat16", "float32")}}

_LESS = {"--cpu-offload-gb", "--quantization", "--kv-cache-dtype"}
_MORE = {"--enable-lora", "--hf-overrides", "--kv-cache-memory-bytes", "--speculative-config"}
_FORMATS_THAT_QUANTIZE = {"bitsandbytes", "gguf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What a plan counts of the flags, None where they say nothing: types by their names, and vLLM's limits of a step.

    `less` are flags that are not counted and let vLLM take less than a plan says, `more` those that may let it take
    more: of a plan with one of the latter nobody can say that it fits.
    """

    quantization: str | None = None
    cache_dtype: str | None = None
    dtype: str | None = None
    sequences: int | None = None
    batched_tokens: int | None = None
    eager: bool = False
    less: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    @classmethod
    def of(cls, words: Sequence[str], footprint: MemoryFootprint | None) -> Self:
        """As vLLM would read them for this model: the last of a flag counts."""
        given = read(words)
        quantized = footprint is not None and footprint.shape.quantization is not None
        quantization, cache = given.get("--quantization"), given.get("--kv-cache-dtype", "auto")
        counted = {
            # What the checkpoint is quantized with already is in its weights' size.
            "--quantization": quantized or quantization in _FP8,
            "--kv-cache-dtype": cache == "auto" or cache in _CACHE_TYPES,
        }
        less = {flag for flag in _LESS.intersection(given) if not counted.get(flag)}
        if given.get("--load-format") in _FORMATS_THAT_QUANTIZE:
            less.add("--load-format")
        more = _MORE.intersection(given)
        numbers = {flag: _number(given.get(flag)) for flag in ("--max-num-seqs", "--max-num-batched-tokens")}
        return cls(
            quantization=quantization if quantization in _FP8 and not quantized else None,
            cache_dtype=_CACHE_TYPES.get(cache),
            dtype=_TYPES.get(given.get("--dtype", "auto")),
            sequences=numbers["--max-num-seqs"],
            batched_tokens=numbers["--max-num-batched-tokens"],
            eager="--enforce-eager" in given,
            less=tuple(sorted(less)),
            more=tuple(sorted(more | {flag for flag, number in numbers.items() if flag in given and number is None})),
        )

    def applied(self, footprint: MemoryFootprint) -> MemoryFootprint:
        """The model as vLLM holds it with these flags."""
        if self.dtype is not None:
            footprint = footprint.served_as(self.dtype)
        if self.quantization is None:
            return footprint
        a_number = {"float32": 4}.get(footprint.shape.dtype, 2)
        return replace(
            footprint,
            split_bytes=footprint.split_bytes // a_number,
            key_value_bytes=footprint.key_value_bytes // a_number,
            shape=replace(footprint.shape, quantization=self.quantization),
        )


def read(words: Sequence[str]) -> Mapping[str, str]:
    """Each flag with its value, the last where there are several; an empty one where none follows."""
    found: dict[str, str] = {}
    for place, word in enumerate(words):
        if not word.startswith("-"):
            continue
        name, _, value = word.partition("=")
        name = name.replace("_", "-")
        following = words[place + 1] if place + 1 < len(words) and not words[place + 1].startswith("-") else ""
        found[_SHORT.get(name, name)] = value or following
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None
