"""Look up the footprint of a model before it is loaded or downloaded."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from ..i18n.message import msg
from ..models import demo_model
from ..models.atomic_install import is_installed
from ..models.catalogue import Variant
from ..models.checkpoint import read_checkpoint
from ..models.lfs_pointers import check_pointers
from ..models.memory_footprint import MemoryFootprint
from ..models.profile import Profile
from ..settings import Settings
from .model_source import open_model, weights_folder


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model's name and its footprint, None if unknown. `doubt` gives its origin, or why it is missing.

    `error` is the reason why the weights cannot be downloaded, if that is known already. `variant` is the quantized
    checkpoint of the catalogue that the model is.
    """

    name: str
    footprint: MemoryFootprint | None
    doubt: str = ""
    error: WeightsError | None = None
    variant: Variant | None = None


def known_footprint(settings: Settings, profile: Profile | None, *, ask_hub: bool) -> KnownModel:
    """Read the footprint from local weights, else from the profile or the catalogue, else from the hub if `ask_hub`.

    Raises UsageError or WeightsError.
    """
    if profile is None:
        source = open_model(settings.model or "", settings.engine_arg("--revision"))
        entry = source.entry
        name, variant = (source.name, None) if entry is None else (entry.label, entry.variant)
        if source.fetch:
            if entry is not None:
                return KnownModel(name, entry.footprint, _of_catalogue(name), variant=variant)
            if not ask_hub:
                return KnownModel(name, None)
            from .huggingface_metadata import query_hub

            remote = query_hub(name, settings.engine_arg("--revision"))
            return KnownModel(name, remote.footprint, remote.remark, remote.error)
        folder = Path(source.location)
        check_pointers(folder)
        footprint = read_checkpoint(folder, settings.engine_arg("--load-format") or "auto")
        return KnownModel(name, footprint, variant=variant)
    if is_installed(folder := weights_folder(profile, settings)):
        check_pointers(folder)
        return KnownModel(profile.name, read_checkpoint(folder))
    if profile.embedded is not None and is_installed(checkpoint := demo_model.folder(profile, settings.cache_dir)):
        return KnownModel(profile.name, read_checkpoint(checkpoint))
    return KnownModel(profile.name, profile.footprint)


def _of_catalogue(name: str) -> str:
    return msg("{name} is not on this machine: its size is that of its published configuration.", name=name)
