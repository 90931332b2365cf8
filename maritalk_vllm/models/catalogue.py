"""The catalogue: open models of Hugging Face by short names, with what a plan needs before they are downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .. import config_files
from .architecture import BYTES, ModelArchitecture
from .memory_footprint import MemoryFootprint, llama_footprint

FOLDER = "models"
"""Folder of the catalogue in configs/."""

RECOMMENDED = "qwen3-4b"
"""The next step that a start of the demo model names: it speaks Portuguese, and no licence has to be accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel:
    """One file of configs/models/. The figures are those of the model's config.json and model card.

    `hub_name` is its name on Hugging Face, and `revision` the commit that is served there, None for the newest.
    `languages` are ISO 639-1 codes. `tied`: the head is the embedding. `must_be_accepted`: Hugging Face sends the
    weights only to accounts that accepted the licence. `is_for_research`: the licence allows nothing else. `is_base`:
    it completes texts, and has no chat template. `chat_template_arguments` are passed to the chat template.
    `tool_call_parser` is vLLM's name for the format of the model's tool calls, if it makes any.
    """

    name: str
    title: str
    hub_name: str
    license: str
    languages: tuple[str, ...]
    parameters: int
    tied: bool
    shape: ModelArchitecture
    revision: str | None = None
    must_be_accepted: bool = False
    is_for_research: bool = False
    is_base: bool = False
    tool_call_parser: str | None = None
    chat_template_arguments: Mapping[str, bool | str] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """The model's page, where its licence is accepted."""
        return f"https://huggingface.co/{self.hub_name}"

    @property
    def footprint(self) -> MemoryFootprint:
        """The footprint to use until the weights are on this machine.

        Parameters beyond those of a Llama of this shape, such as a vision tower, are counted on every GPU.
        """
        llama = llama_footprint(self.shape, tied=self.tied)
        others = self.parameters * BYTES[self.shape.dtype] - llama.weights_bytes
        return replace(llama, whole_bytes=llama.whole_bytes + max(0, others))


def catalogue() -> dict[str, CatalogueModel]:
    """All models of the catalogue by name, the smallest first."""
    models = [_read(name) for name in config_files.names(FOLDER)]
    return {model.name: model for model in sorted(models, key=lambda model: model.parameters)}


def find(name: str) -> CatalogueModel | None:
    """The model of this name; None if the catalogue has none."""
    return _read(name) if name in config_files.names(FOLDER) else None


def _read(name: str) -> CatalogueModel:
    values: dict[str, Any] = config_files.read(f"{FOLDER}/{name}")
    values["shape"] = ModelArchitecture(**values["shape"])
    values["languages"] = tuple(values["languages"])
    return CatalogueModel(**values)
