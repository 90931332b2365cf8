"""What is to be served, and where its weights are."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..errors import LicenseError, UsageError, WeightsError
from ..licensing.entitlement import EVALUATION_KEY
from ..licensing.license_check import LicenseCheck
from ..models import demo_model
from ..models.atomic_install import is_installed
from ..models.model_config import has_config
from ..models.profile import Profile, find, profiles
from ..settings import Settings
from ..text_format import did_you_mean
from . import huggingface
from .download_progress import Progress
from .model_folder import SERVED, holds_gguf, model_folder
from .partial_file import Link

_MOST_TIMES = 4
"""An archive has at most so many times the bytes of the profile's weights: they may be of float32, packed badly."""

_HUGGING_FACE_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A model to serve: its name for users, and the folder that holds it, or will.

    `fetch` brings the weights from elsewhere, where they are not here: it is told what to report to, and raises
    WeightsError or LicenseError. `is_made_here`: this program makes the folder from an embedded file, so it may remove
    the folder and make it again.
    """

    name: str
    location: str
    profile: Profile | None = None
    fetch: Callable[[Progress], None] | None = field(default=None, compare=False)
    is_made_here: bool = False

    @property
    def must_be_prepared(self) -> bool:
        """Whether the checkpoint has to be made from an embedded file first."""
        return self.is_made_here and not is_installed(Path(self.location))


def wanted_profile(settings: Settings, check: LicenseCheck) -> Profile | None:
    """The profile that the user asked for, or that the licence stands for; None for an open model.

    Raises UsageError or LicenseError.
    """
    if settings.model is not None:
        return find(settings.model)
    if settings.license is None:
        raise UsageError(
            "No licence and no model were given.",
            f"Use --license {EVALUATION_KEY} to try the demo model, or --model for an open one.",
        )
    return find(check.entitlement.models[0])


def locate(settings: Settings, profile: Profile | None, check: LicenseCheck, place: Path | None = None) -> Source:
    """The weights of the wanted model; those that a licence brings are, or will be, in the folder `place`.

    Raises LicenseError, UsageError or WeightsError.
    """
    if profile is None:
        assert settings.model is not None
        return open_model(settings.model, settings.engine_arg("--revision"))
    _check_license(settings, profile, check)
    folder = place or weights_folder(profile, settings)
    if is_installed(folder):
        return Source(profile.name, str(folder), profile)
    if check.brings_weights:
        return Source(profile.name, str(folder), profile, partial(_fetch, folder, profile, check))
    if profile.embedded is None:
        raise WeightsError(
            f"The weights of {profile.title} are not on this machine, and this licence does not bring them.",
            f"Put them into {folder}, or give the folder that holds them: --model PATH.",
        )
    return Source(profile.name, str(demo_model.folder(profile, settings.cache_dir)), profile, is_made_here=True)


def weights_folder(profile: Profile, settings: Settings) -> Path:
    """Where the weights that a licence brings are, or will be."""
    return settings.cache_dir / "models" / profile.name


def _fetch(folder: Path, profile: Profile, check: LicenseCheck, progress: Progress) -> None:
    from .install import fetch  # and with it httpx, a third of what a plan takes

    def ask() -> Link:
        grant = check.grant(profile.name)
        return Link(grant.url, grant.size, grant.sha256)

    fetch(folder, ask, profile.title, progress, most_bytes=_MOST_TIMES * profile.weights_bytes)


def _check_license(settings: Settings, profile: Profile, check: LicenseCheck) -> None:
    if settings.license is None:
        raise LicenseError(f"{profile.title} needs a licence.", "Give it with --license or MARITALK_LICENSE.")
    allowed = check.entitlement.models
    if profile.name not in allowed:
        raise LicenseError(
            f"This licence is for {', '.join(allowed)}, not for {profile.name}.",
            "Ask for one that includes it, or leave --model out.",
        )


def open_model(model: str, revision: str | None = None) -> Source:
    """A model that needs no licence, by its folder or its Hugging Face name. Raises UsageError or WeightsError."""
    if (folder := model_folder(model)) is not None:
        if not has_config(folder):
            hint = f"Its GGUF files are not served. What is served is {SERVED}." if holds_gguf(folder) else ""
            raise WeightsError(
                f"{Path(model)} holds no model: it has no config.json.", hint or "Give the folder of a checkpoint."
            )
        return Source(folder.name, str(folder))
    if _HUGGING_FACE_NAME.fullmatch(model):
        huggingface.check_name(model)
        here = huggingface.snapshot(model, revision)
        return (
            Source(model, str(here))
            if here
            else Source(model, model, fetch=partial(huggingface.fetch, model, revision))
        )
    known = [name for profile in profiles().values() for name in (profile.name, *profile.aliases)]
    raise UsageError(
        f"There is no model {model}: it is no profile, no folder and no Hugging Face name.", did_you_mean(model, known)
    )
