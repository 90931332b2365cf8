"""How a model's weights are quantized: the method, and the blocks of weights that share a scale."""

from collections.abc import Iterator

from .json_file import Section
from .model_config import Config

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def quantization_method(config: Config) -> str | None:
    """The name of the method, `unknown` if the configuration does not give it; None without quantization."""
    return next((found.string("quant_method") or "unknown" for found in _sections(config)), None)


def quantization_block(config: Config) -> int:
    """Consecutive weights of a layer that share a scale: vLLM cannot divide them between GPUs. 1 if there are none.

    FP8 gives it as `weight_block_size`, AWQ and GPTQ as `group_size`, compressed-tensors by the groups of its layers.
    Mixtures of experts count as 1: how their layers are divided depends on more than the tensor-parallel size.
    """
    if any(config.text.get(name) for name in _EXPERTS):
        return 1
    return max((size for found in _sections(config) for size in _block_sizes(found)), default=1)


def _sections(config: Config) -> Iterator[Section]:
    for part in (config.text, config.whole):
        for key in ("quantization_config", "compression_config"):
            if (found := part.section(key)) is not None:
                yield found


def _block_sizes(found: Section) -> Iterator[int]:
    yield found.largest("weight_block_size") or 1
    yield found.size("group_size", minimum=-1) or 1  # -1: one scale for each output
    if (groups := found.section("config_groups")) is not None:
        for name in groups.content:
            if (group := groups.section(name)) is not None and (weights := group.section("weights")) is not None:
                yield weights.size("group_size", minimum=-1) or 1
                if isinstance(weights.get("block_structure"), list):
                    yield weights.largest("block_structure") or 1
