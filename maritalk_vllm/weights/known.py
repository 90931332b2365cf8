"""What can be known of a model before it is loaded, or even here."""

from pathlib import Path

from ..models import demo
from ..models.checkpoint import read_checkpoint
from ..models.footprint import Footprint
from ..models.profile import Profile
from ..settings import Settings
from .source import Source, open_model


def known_footprint(settings: Settings, profile: Profile | None) -> tuple[str, Footprint | None]:
    """The model's name and its footprint: from its weights, if they are here, else from its profile.

    None for a Hugging Face model that was not downloaded yet. Raises UsageError or WeightsError.
    """
    if profile is None:
        source = open_model(settings.model or "")
        folder = checkpoint_folder(source)
        return source.name, read_checkpoint(folder) if folder else None
    if profile.embedded is not None and demo.is_ready(checkpoint := demo.folder(profile, settings.cache_dir)):
        return profile.name, read_checkpoint(checkpoint)
    return profile.name, profile.footprint


def checkpoint_folder(source: Source) -> Path | None:
    """Where the weights of an open model are; None if Hugging Face has them and this machine does not."""
    folder = Path(source.location)
    if folder.is_dir():
        return folder
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.location, "config.json")
    return Path(found).parent if isinstance(found, str) else None
