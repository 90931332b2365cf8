"""Choose the checkpoint to serve of a model of the catalogue that has several: one choice, for all commands."""

from dataclasses import dataclass, replace

from ...engine.vllm_version import installed_vllm
from ...hardware.inventory import Inventory
from ...hardware.probe import probe_hardware
from ...models.catalogue import CatalogueModel, find
from ...planning.best_variant import best_variant
from ...planning.memory_flags import read_flags
from ...planning.model_requirements import ModelRequirements
from ...settings import Device, Settings
from ...weights.footprint_lookup import known_footprint
from ...weights.model_folder import model_folder

_FLAGS_OF_A_CHECKPOINT = {"--quantization", "--revision"}
"""With one of these flags for vLLM, the user means the checkpoint without quantization."""


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """The chosen checkpoint as a value of --model, None if there was nothing to choose, and a sentence on why.

    The sentence is empty if the best one fits.
    """

    model: str | None = None
    reason: str = ""

    def applied(self, settings: Settings) -> Settings:
        """The settings with the checkpoint in place of the model's name."""
        return settings if self.model is None else replace(settings, model=self.model)


def choose_variant(
    settings: Settings, inventory: Inventory, requested_device: Device, installed_device: Device
) -> VariantChoice:
    """Choose for the GPUs of `inventory`. Raises UsageError or WeightsError."""
    entry = _model_with_variants(settings)
    if entry is None:
        return VariantChoice()
    variants = [_requirements(each, settings) for each in entry.checkpoints]
    best = best_variant(variants, inventory, requested_device, installed_device)
    chosen = next(each for each in entry.checkpoints if each.variant == best.variant)
    return VariantChoice(chosen.full_name, best.choice)


def choose_variant_here(settings: Settings) -> VariantChoice:
    """Choose for this machine, whose hardware is probed only if there is a choice. Raises MariTalkError."""
    if _model_with_variants(settings) is None:
        return VariantChoice()
    inventory = probe_hardware(gpus=settings.device is not Device.CPU)
    return choose_variant(settings, inventory, settings.device, installed_vllm().device)


def _model_with_variants(settings: Settings) -> CatalogueModel | None:
    """The model of the catalogue that the user asked for, if the choice of its checkpoint is open."""
    entry = find(settings.model) if settings.model else None
    if entry is None or not entry.variants or model_folder(entry.name) is not None:
        return None
    return None if _FLAGS_OF_A_CHECKPOINT.intersection(read_flags(settings.engine_args)) else entry


def _requirements(checkpoint: CatalogueModel, settings: Settings) -> ModelRequirements:
    settings = replace(settings, model=checkpoint.full_name)
    known = known_footprint(settings, None, ask_hub=False)
    return ModelRequirements.from_settings(known.name, known.footprint, None, settings, known.doubt, known.variant)
