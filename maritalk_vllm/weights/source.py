"""What is to be served, and where its weights are."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import LicenseError, UsageError, WeightsError
from ..licensing.check import entitlement
from ..licensing.entitlement import EVALUATION_KEY
from ..models import demo
from ..models.profile import Profile, find, profiles
from ..settings import Settings
from ..words import nearest

_HUGGING_FACE_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A model to serve: its name for users, and its folder or Hugging Face name for vLLM."""

    name: str
    location: str
    profile: Profile | None = None

    @property
    def must_be_prepared(self) -> bool:
        """Whether the checkpoint has to be made from an embedded file first."""
        embedded = self.profile is not None and self.profile.embedded is not None
        return embedded and not demo.is_ready(Path(self.location))


def wanted_profile(settings: Settings) -> Profile | None:
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
    return find(entitlement(settings).models[0])


def locate(settings: Settings, profile: Profile | None) -> Source:
    """The weights of the wanted model. Raises LicenseError, UsageError or WeightsError."""
    if profile is None:
        assert settings.model is not None
        return open_model(settings.model)
    _check_license(settings, profile)
    if profile.embedded is None:
        raise WeightsError(
            f"The weights of {profile.title} are not on this machine.", "Give the folder that holds them: --model PATH."
        )
    return Source(profile.name, str(demo.folder(profile, settings.cache_dir)), profile)


def _check_license(settings: Settings, profile: Profile) -> None:
    if settings.license is None:
        raise LicenseError(f"{profile.title} needs a licence.", "Give it with --license or MARITALK_LICENSE.")
    allowed = entitlement(settings).models
    if profile.name not in allowed:
        raise LicenseError(
            f"This licence is for {', '.join(allowed)}, not for {profile.name}.",
            "Ask for one that includes it, or leave --model out.",
        )


def open_model(model: str) -> Source:
    """A model that needs no licence, by its folder or its Hugging Face name. Raises UsageError or WeightsError."""
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise WeightsError(f"{path} holds no model: it has no config.json.", "Give the folder of a checkpoint.")
        return Source(path.resolve().name, str(path.resolve()))
    if _HUGGING_FACE_NAME.fullmatch(model):
        return Source(model, model)
    known = [name for profile in profiles().values() for name in (profile.name, *profile.aliases)]
    raise UsageError(
        f"There is no model {model}: it is no profile, no folder and no Hugging Face name.", nearest(model, known)
    )
