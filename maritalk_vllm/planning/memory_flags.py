"""The user's vLLM flags that change its memory use: those that a plan counts, and the others. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..models.architecture import BYTES, ModelArchitecture, biggest_stage
from ..models.memory_footprint import MemoryFootprint
from .batch_limits import BatchLimits

_SHORT = {
    "-O": "--optimization-level",
    "-ac": "--attention-config",
    "-cc": "--compilation-config",
    "-dcp": "--decode-context-parallel-size",
    "-pcp": "--prefill-context-parallel-size",
    "-q": "--quantization",
    "-sc": "--speculative-config",
}

_FP8 = {"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel"}
"""Methods with which vLLM quantizes 16-bit weights while loading: one byte per number in each linear layer."""

_CACHE_TYPES = {
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"), "fp8"),
    "bfloat16": "bfloat16",
    "float16": "float16",
}
_TYPES = {"half": "float16", "float": "float32", **{name: name for name in ("float16", "bfloat16", "float32")}}

_MAY_REDUCE = {
    "--cpu-offload-gb",
    "--cpu-offload-params",
    "--decode-context-parallel-size",
    "--kv-cache-dtype",
    "--kv-sharing-fast-prefill",
    "--language-model-only",
    "--limit-mm-per-prompt",
    "--mm-encoder-only",
    "--mm-encoder-tp-mode",
    "--offload-backend",
    "--offload-group-size",
    "--offload-num-in-group",
    "--offload-params",
    "--prefill-context-parallel-size",
    "--quantization",
    "--quantization-config",
    "--skip-mm-profiling",
}
"""Flags with which vLLM needs less memory, or measures less."""

_MAY_INCREASE = {
    "--block-size",
    "--disable-hybrid-kv-cache-manager",
    "--ec-transfer-config",
    "--enable-dbo",
    "--enable-elastic-ep",
    "--enable-eplb",
    "--enable-prompt-embeds",
    "--enable-return-routed-experts",
    "--enable-tower-connector-lora",
    "--engram-config",
    "--eplb-config",
    "--kv-cache-dtype-skip-layers",
    "--kv-transfer-config",
    "--mm-ipc-gpu-memory-gb",
    "--mm-processor-device",
    "--spec-method",
    "--spec-model",
    "--spec-tokens",
    "--speculative-config",
    "--ubatch-size",
    "--weight-transfer-config",
}
"""Flags with which vLLM needs more memory."""

_MAY_DO_EITHER = {
    "--additional-config",
    "--attention-backend",
    "--attention-config",
    "--code-revision",
    "--compilation-config",
    "--config",
    "--config-format",
    "--cudagraph-capture-sizes",
    "--diffusion-config",
    "--disable-sliding-window",
    "--hf-config-path",
    "--hf-overrides",
    "--kv-cache-memory-bytes",
    "--mamba-block-size",
    "--mamba-cache-dtype",
    "--mamba-cache-mode",
    "--mamba-ssm-cache-dtype",
    "--max-cudagraph-capture-size",
    "--max-num-scheduled-tokens",
    "--mm-processor-kwargs",
    "--model-class-overrides",
    "--model-impl",
    "--model-loader-extra-config",
    "--model-weights",
    "--num-gpu-blocks-override",
    "--optimization-level",
    "--performance-mode",
    "--pooler-config",
    "--replayssm-buffer-len",
    "--revision",
    "--runner",
    "--use-replayssm",
    "--worker-cls",
}
"""Flags whose memory depends on their value, or that load another model."""

_COUNTED = {
    "--dtype",
    "--enable-lora",
    "--enforce-eager",
    "--load-format",
    "--max-lora-rank",
    "--max-loras",
    "--max-num-batched-tokens",
    "--max-num-seqs",
}

MEMORY_FLAGS = _COUNTED | _MAY_REDUCE | _MAY_INCREASE | _MAY_DO_EITHER
"""All flags that change how much memory vLLM takes; tests/engine/test_flag_classes.py lists those that do not."""

_FORMATS_THAT_QUANTIZE = {"bitsandbytes", "gguf"}


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """The most LoRA adapters at once, and their largest rank; the defaults are vLLM's."""

    adapters: int = 1
    rank: int = 16

    def buffer_bytes(self, shape: ModelArchitecture, tensor_parallel_size: int, pipeline_parallel_size: int) -> int:
        """Bytes of the buffers that vLLM allocates on each GPU, as for the linear layers of a Llama.

        Each has A, rank x input, and B, output x rank. Tensor parallelism divides one of the two: B of query, key,
        value, gate and up, and A of output and down. Head and embedding are not divided.
        """
        key_value_heads = max(1, shape.key_value_heads // tensor_parallel_size)
        divided = (2 * shape.attention_heads * shape.head_size + 3 * shape.intermediate_size) / tensor_parallel_size
        layer = 7 * shape.hidden_size + divided + 2 * key_value_heads * shape.head_size
        outside = 2 * (shape.vocabulary_size + shape.hidden_size)
        numbers = biggest_stage(shape.layers, pipeline_parallel_size) * layer + outside
        return math.ceil(self.adapters * self.rank * numbers * BYTES.get(shape.dtype, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags that a plan counts, None where not given: dtypes by name, and vLLM's limits per step.

    `may_reduce` are the uncounted flags that may let vLLM use less memory than planned, `may_increase` those that may
    let it use more, and `estimated` those that are counted by a formula that does not hold for every model: a plan with
    one of the latter two is never said to fit.
    """

    quantization: str | None = None
    cache_dtype: str | None = None
    dtype: str | None = None
    sequences: int | None = None
    batched_tokens: int | None = None
    eager: bool = False
    adapters: AdapterLimits | None = None
    may_reduce: tuple[str, ...] = ()
    may_increase: tuple[str, ...] = ()
    estimated: tuple[str, ...] = ()

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
        either = _MAY_DO_EITHER.intersection(given)
        adapters = AdapterLimits() if "--enable-lora" in given else None
        names = ["--max-num-seqs", "--max-num-batched-tokens"]
        if adapters:
            names += ["--max-loras", "--max-lora-rank"]
        numbers = {flag: _number(given.get(flag)) for flag in names}
        either |= {flag for flag, number in numbers.items() if flag in given and number is None}
        if adapters:
            largest, rank = numbers["--max-loras"], numbers["--max-lora-rank"]
            adapters = AdapterLimits(largest or adapters.adapters, rank or adapters.rank)
        return cls(
            quantization=quantization if quantization in _FP8 and not quantized else None,
            cache_dtype=_CACHE_TYPES.get(cache),
            dtype=_TYPES.get(given.get("--dtype", "auto")),
            sequences=numbers["--max-num-seqs"],
            batched_tokens=numbers["--max-num-batched-tokens"],
            eager="--enforce-eager" in given,
            adapters=adapters,
            may_reduce=tuple(sorted(may_reduce | either)),
            may_increase=tuple(sorted(may_increase | either)),
            estimated=("--enable-lora",) if adapters else (),
        )

    def batch_limits(self, defaults: BatchLimits) -> BatchLimits:
        """The user's limits per step where given, else `defaults`."""
        return BatchLimits(self.batched_tokens or defaults.tokens, self.sequences or defaults.sequences)

    def adapter_bytes(self, shape: ModelArchitecture, tensor_parallel_size: int, pipeline_parallel_size: int) -> int:
        """Bytes that LoRA takes on each GPU beside the weights; 0 without it."""
        if self.adapters is None:
            return 0
        return self.adapters.buffer_bytes(shape, tensor_parallel_size, pipeline_parallel_size)

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
    """Map each flag to its last value, or to an empty string if it has none.

    `--flag.key=value`, which sets one key of a flag, counts as the flag; `--no-flag` removes an earlier `--flag`.
    """
    found: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        if not argument.startswith("-"):
            continue
        name, _, value = argument.partition("=")
        name = name.partition(".")[0].replace("_", "-")
        following = (
            arguments[index + 1] if index + 1 < len(arguments) and not arguments[index + 1].startswith("-") else ""
        )
        if argument.startswith("-O") and argument != "-O":
            name, value = "-O", argument.removeprefix("-O").removeprefix("=")
        if name.startswith("--no-"):
            found.pop(name.replace("--no-", "--", 1), None)
        found[_SHORT.get(name, name)] = value or following
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None
