"""Derive the longest context of a model, in tokens, as vLLM's ModelConfig does (config/model.py, 0.32 and 0.33)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .json_file import Section
from .model_config import Config

_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# Types of rotary embeddings whose max_position_embeddings already includes the scaling.
_SCALED = {
    "su",
    "longrope",
    "llama3",
    "yarn",
    "telechat3-yarn",
    "deepseek_yarn",
    "deepseek_llama_scaling",
}
_LONGROPE = ("longrope", "su")
_FALLBACK = 2048
"""vLLM's default for a model whose class has no length at all."""


@dataclass(frozen=True, slots=True)
class ContextLength:
    """The length served by default, and the longest that vLLM accepts. None if the files do not say."""

    default: int | None
    limit: int | None


def context_length(config: Config) -> ContextLength:
    """Derive the context length. Raises WeightsError, which names file and key, for a value of the wrong type."""
    text = config.text
    found = [length for key in _KEYS if (length := text.size(key)) is not None]
    own = text.size("model_max_length")
    derived = own or min(found, default=None)
    if derived is None and not config.known:
        return ContextLength(None, None)
    rotary = list(_rotary(config))
    factor = 1.0
    if "gemma3" not in config.text_type:
        for each in rotary:
            if _rope_type(each) not in _SCALED:
                factor = (each.number("factor") or 1.0) if "factor" in each.content else factor
    longest = int((derived or _FALLBACK) * factor)
    default = longest
    if any(_rope_type(each) in _LONGROPE for each in rotary):
        default = text.size("original_max_position_embeddings") or longest
    return ContextLength(default, None if derived is None else max(longest, own or 0))


def _rotary(config: Config) -> Iterator[Section]:
    """Yield the parameters of the rotary embeddings: one object, or one for each kind of layer."""
    text = config.text
    scaling, parameters = text.section("rope_scaling"), text.section("rope_parameters")
    if scaling is not None and scaling.content and not config.architecture.unscaled:
        parameters = scaling
    if parameters is None or not parameters.content:
        return
    parts = [key for key, value in parameters.content.items() if isinstance(value, Mapping)]
    if not parts:
        yield parameters
    for key in parts:
        if (part := parameters.section(key)) is not None:
            yield part


def _rope_type(parameters: Section) -> str:
    return parameters.string("rope_type") or parameters.string("type") or "default"
