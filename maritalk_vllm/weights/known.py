"""What can be known of a model before it is loaded, or even here."""

from pathlib import Path

from ..models import demo
from ..models.checkpoint import read_checkpoint
from ..models.footprint import Footprint
from ..models.place import is_here
from ..models.profile import Profile
from ..settings import Settings
from .source import open_model, weights_folder


def known_footprint(settings: Settings, profile: Profile | None) -> tuple[str, Footprint | None]:
    """The model's name and its footprint: from its weights, if they are here, else from its profile.

    None for a Hugging Face model that was not downloaded yet. Raises UsageError or WeightsError.
    """
    if profile is None:
        source = open_model(settings.model or "", settings.engine_arg("--revision"))
        if source.fetch:
            return source.name, None
        made_up = settings.engine_arg("--load-format") == "dummy"
        return source.name, read_checkpoint(Path(source.location), made_up=made_up)
    if is_here(folder := weights_folder(profile, settings)):
        return profile.name, read_checkpoint(folder)
    if profile.embedded is not None and is_here(checkpoint := demo.folder(profile, settings.cache_dir)):
        return profile.name, read_checkpoint(checkpoint)
    return profile.name, profile.footprint
