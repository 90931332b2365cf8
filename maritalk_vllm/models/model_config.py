"""Read a model's configuration as vLLM does: config.json or Mistral's params.json, with the defaults of its class."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .config_defaults import Architecture, find
from .json_file import Section, read_object
from .mistral_config import PARAMS, to_hf_config
from .weights_files import has_mistral_weights

CONFIG = "config.json"

# Keys of the text model in configurations of types that are not in the table; the first one present counts.
_TEXT = (
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config.text_config",
    "thinker_config",
    "text_encoder",
    "decoder",
    "decoder_config",
    "generator",
    "language_model",
    "llm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The text model's section, the whole file, and their model types. `known` says whether the text model's class is
    in the table, so that missing keys have the class's defaults."""

    text: Section
    whole: Section
    text_type: str
    model_type: str
    known: bool
    architecture: Architecture


def has_config(folder: Path) -> bool:
    """Whether the folder holds a model's configuration."""
    return (folder / CONFIG).is_file() or (folder / PARAMS).is_file()


def read_config(folder: Path) -> Config:
    """Read the configuration of the model in a folder. Raises WeightsError, which names the file and the key."""
    config_file = folder / CONFIG
    if (folder / PARAMS).is_file() and (has_mistral_weights(folder) or not config_file.is_file()):
        hf_config = read_object(config_file) if config_file.is_file() else {}
        return _mistral_config(folder / PARAMS, hf_config)
    return parse_config(read_object(config_file), config_file)


def parse_config(content: Mapping[str, Any], file: Path) -> Config:
    """Parse the content of config.json. `file` is its name in errors."""
    plain = Section(content=content, file=file)
    model_type = plain.string("model_type") or _by_architecture(plain)
    row = find(model_type)
    whole = _section(plain, row, "")
    if row is None or row.text_type:
        return _composite(whole, model_type, row)
    return Config(text=whole, whole=whole, text_type=model_type, model_type=model_type, known=True, architecture=row)


def _by_architecture(plain: Section) -> str:
    names = plain.strings("architectures") or []
    longcat = names[:1] and names[0] in ("LongcatFlashForCausalLM", "LongcatFlashNgramForCausalLM")
    return "longcat_flash" if longcat else ""


def _composite(whole: Section, model_type: str, row: Architecture | None) -> Config:
    """The configuration of a model that may contain a text model among others."""
    part = _first_section(whole, (*row.text, *_TEXT) if row else _TEXT)
    if row is None:
        part = part or whole
        text_type = part.string("model_type") or model_type
        text_row, added = find(text_type), {}
    else:
        own = find(row.text_type)
        added = row.text_values if part is None else row.part_values
        named = part.string("model_type") if part is not None else None
        text_row = own if own is not None and own.model_type else (find(named) if named else None) or own
        text_type = (text_row.model_type if text_row else "") or named or row.text_type
        part = part or (whole if row.flat else Section(content={}, file=whole.file))
    text = _section(part, text_row, part.path)
    return Config(
        text=replace(text, defaults={**text.defaults, **added}),
        whole=whole,
        text_type=text_type,
        model_type=model_type,
        known=text_row is not None,
        architecture=text_row or Architecture(),
    )


def _first_section(whole: Section, paths: tuple[str, ...]) -> Section | None:
    for path in paths:
        found: Section | None = whole
        for key in path.split("."):
            found = found.section(key) if found is not None and found.get(key) is not None else None
        if found is not None:
            return found
    return None


def _section(plain: Section, row: Architecture | None, path: str) -> Section:
    if row is None:
        return plain
    return Section(content=plain.content, file=plain.file, path=path, names=row.names, defaults=row.values, strict=True)


def _mistral_config(file: Path, hf_config: Mapping[str, Any]) -> Config:
    """The configuration in Mistral's own layout, which vLLM reads without a configuration class."""
    text = Section(content=to_hf_config(read_object(file), file, hf_config), file=file)
    model_type = text.string("model_type") or ""
    return Config(
        text=text, whole=text, text_type=model_type, model_type=model_type, known=True, architecture=Architecture()
    )
