"""The catalogue: open models of Hugging Face by short names, with what a plan needs before they are downloaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from .. import config_files
from .architecture import BYTES, ModelArchitecture
from .memory_footprint import MemoryFootprint, llama_footprint

FOLDER = "models"
"""Folder of the catalogue in configs/."""

RECOMMENDED = "qwen3-4b"
"""The next step that a start with the evaluation key names: it speaks Portuguese, and no licence has to be accepted."""

UNQUANTIZED = "bf16"
"""The name of the checkpoint without quantization, as in `qwen3-8b:bf16`."""

BITS_PER_WEIGHT = {"fp8": 8.0, "w4a16": 4.16}
"""Stored bits of one weight of a linear layer, by quantization.

W4A16, as AWQ and GPTQ make it, has a scale of 16 bits and a zero point of 4 for each 128 weights; the scales of FP8
take less than 0.01 bits.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A quantized checkpoint of a model: the linear layers of its blocks have fewer bits, all else is as it was.

    `quantization` is a key of `BITS_PER_WEIGHT`, and names the variant; `hub_name` and `revision` are as in
    `CatalogueModel`. `block` is the `quantization_block` of its shape. `scores` are those of its model card by
    benchmark, in percent of the model without quantization.
    """

    quantization: str
    hub_name: str
    block: int = 1
    revision: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """Bits of a quantized weight without its scale."""
        return int(BITS_PER_WEIGHT[self.quantization])


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel:
    """One file of configs/models/. The figures are those of the model's config.json and model card.

    `hub_name` is its name on Hugging Face, and `revision` the commit that is served there, None for the newest.
    `languages` are ISO 639-1 codes. `tied`: the head is the embedding. `must_be_accepted`: Hugging Face sends the
    weights only to accounts that accepted the licence. `is_for_research`: the licence allows nothing else. `is_base`:
    it completes texts, and has no chat template. `chat_template_arguments` are passed to the chat template.
    `tool_call_parser` is vLLM's name for the format of the model's tool calls, if it makes any.

    `variants` are its quantized checkpoints, the best first. `variant` is the one that this entry stands for, whose
    `hub_name` and `revision` it has; None for the model without quantization.
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
    variants: tuple[Variant, ...] = ()
    variant: Variant | None = None

    @property
    def page(self) -> str:
        """The model's page, where its licence is accepted."""
        return f"https://huggingface.co/{self.hub_name}"

    @property
    def label(self) -> str:
        """The name, with that of the variant if it is a quantized one."""
        return self.name if self.variant is None else self.full_name

    @property
    def full_name(self) -> str:
        """The value of --model that names this checkpoint and no other."""
        return f"{self.name}:{self.variant.quantization if self.variant else UNQUANTIZED}"

    @property
    def checkpoints(self) -> list[Self]:
        """An entry for each checkpoint, the best first. None of them has variants of its own."""
        quantized = (
            replace(self, hub_name=each.hub_name, revision=each.revision, variant=each, variants=())
            for each in self.variants
        )
        return [replace(self, variants=()), *quantized]

    @property
    def footprint(self) -> MemoryFootprint:
        """The footprint to use until the weights are on this machine.

        Parameters beyond those of a Llama of this shape, such as a vision tower, are counted on every GPU.
        """
        llama = llama_footprint(self.shape, tied=self.tied)
        others = self.parameters * BYTES[self.shape.dtype] - llama.weights_bytes
        footprint = replace(llama, whole_bytes=llama.whole_bytes + max(0, others))
        return footprint if self.variant is None else _quantized(footprint, self.variant)


def catalogue() -> dict[str, CatalogueModel]:
    """All models of the catalogue by name, the smallest first."""
    models = [_read(name) for name in config_files.names(FOLDER)]
    return {model.name: model for model in sorted(models, key=lambda model: model.parameters)}


def find(name: str) -> CatalogueModel | None:
    """The model of this name, or of `NAME:VARIANT` that checkpoint of it; None if the catalogue has none."""
    model_name, colon, _ = name.partition(":")
    if model_name not in config_files.names(FOLDER):
        return None
    model = _read(model_name)
    return next((each for each in model.checkpoints if each.full_name == name), None) if colon else model


def _quantized(footprint: MemoryFootprint, variant: Variant) -> MemoryFootprint:
    """The footprint with quantized linear layers. `footprint` is in 16 bits."""
    share = BITS_PER_WEIGHT[variant.quantization] / 16
    return replace(
        footprint,
        split_bytes=int(footprint.split_bytes * share),
        key_value_bytes=int(footprint.key_value_bytes * share),
        shape=replace(footprint.shape, quantization=variant.quantization, quantization_block=variant.block),
    )


def _read(name: str) -> CatalogueModel:
    values: dict[str, Any] = config_files.read(f"{FOLDER}/{name}")
    values["shape"] = ModelArchitecture(**values["shape"])
    values["languages"] = tuple(values["languages"])
    values["variants"] = tuple(Variant(**each) for each in values.get("variants", ()))
    return CatalogueModel(**values)
