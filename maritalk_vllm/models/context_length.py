"""The longest context of a model, in tokens, as vLLM's ModelConfig derives it (config/model.py, 0.32)."""

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
# Rotary embeddings whose max_position_embeddings already counts their scaling.
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
_OTHERWISE = 2048
"""What vLLM takes of a model whose class has no length at all."""


@dataclass(frozen=True, slots=True)
class ContextLength:
    """What is served if the user asks for nothing, and the most that vLLM takes. None where the files do not say."""

    usual: int | None
    limit: int | None


def context_length(config: Config) -> ContextLength:
    """Raises WeightsError, which names file and key, for a value of another type."""
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
            if _kind(each) not in _SCALED:
                factor = (each.number("factor") or 1.0) if "factor" in each.content else factor
    longest = int((derived or _OTHERWISE) * factor)
    usual = longest
    if any(_kind(each) in _LONGROPE for each in rotary):
        usual = text.size("original_max_position_embeddings") or longest
    return ContextLength(usual, None if derived is None else max(longest, own or 0))


def _rotary(config: Config) -> Iterator[Section]:
    """The parameters of rotary embeddings: one object, or one for each kind of layer."""
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


def _kind(parameters: Section) -> str:
    return parameters.word("rope_type") or parameters.word("type") or "default"
