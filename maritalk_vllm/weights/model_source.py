"""Determine which model to serve, and where its weights are."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LicenseError, UsageError, WeightsError
from ..i18n.message import msg
from ..licensing.entitlement import EVALUATION_KEY, Entitlement
from ..licensing.license_check import LicenseCheck
from ..models import catalogue, demo_model
from ..models.atomic_install import is_installed
from ..models.catalogue import CatalogueModel
from ..models.model_config import has_config
from ..models.profile import Profile, find, profiles
from ..settings import Settings
from ..text_format import did_you_mean
from . import huggingface
from .fetch_request import FetchFromHub, FetchFromService, FetchRequest
from .model_folder import SERVED, holds_gguf, model_folder

_HUGGING_FACE_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """A model to serve: its name for users, and the folder that holds it, or will hold it.

    `entry` is its entry in the catalogue, if that has named it. `fetch` is the download of the weights if they are not
    local. `is_made_here`: this program creates the folder from an embedded file, so it may delete the folder and create
    it again. `given_folder` is the path by which the user has named the folder, which may lead through links;
    `hub_reference` is the file of Hugging Face's cache that names the snapshot of the revision.
    """

    name: str
    location: str
    profile: Profile | None = None
    fetch: FetchRequest | None = None
    entry: CatalogueModel | None = None
    is_made_here: bool = False
    given_folder: Path | None = None
    hub_reference: Path | None = None

    @property
    def is_demo(self) -> bool:
        """Whether this is the demo model."""
        return self.profile is not None and self.profile.embedded is not None

    @property
    def exact_name(self) -> str:
        """The value of --model that names these weights: of a model with several checkpoints, this one."""
        return self.name if self.entry is None else self.entry.full_name

    @property
    def places(self) -> list[Path]:
        """The folder and the file whose change shows that a user has replaced the model; empty if it is made here."""
        if self.fetch is not None or self.is_made_here:
            return []
        folder = self.given_folder or Path(self.location)
        return [folder] if self.hub_reference is None else [folder, self.hub_reference]

    @property
    def must_be_prepared(self) -> bool:
        """Whether the checkpoint must first be converted from an embedded file."""
        return self.is_made_here and not is_installed(Path(self.location))


def wanted_profile(settings: Settings, check: LicenseCheck) -> Profile | None:
    """The profile that the user asked for, or the first that the licence allows; None for an open model.

    Raises UsageError or LicenseError.
    """
    if settings.model is not None:
        return find(settings.model)
    if settings.license is None:
        raise UsageError(
            "No licence and no model were given.",
            msg(
                "Use --license {evaluation_key} to try the demo model, or --model for an open one.",
                evaluation_key=EVALUATION_KEY,
            ),
        )
    return find(check.entitlement.models[0])


def needs_license(settings: Settings, profile: Profile | None) -> bool:
    """Whether serving this model needs a licence: no open model does, and neither does the demo model by its name."""
    return profile is not None and not (settings.model is not None and profile.embedded is not None)


def entitlement(settings: Settings, profile: Profile | None, check: LicenseCheck) -> Entitlement | None:
    """The entitlement that serves this model; None if it needs no licence. Raises LicenseError or UsageError."""
    return check.entitlement if needs_license(settings, profile) else None


def locate(settings: Settings, profile: Profile | None, check: LicenseCheck, target: Path | None = None) -> Source:
    """Locate the weights of a model. Weights that come with a licence are, or will be, installed in `target`.

    Raises LicenseError, UsageError or WeightsError.
    """
    if profile is None:
        assert settings.model is not None
        return open_model(settings.model, settings.engine_arg("--revision"))
    is_licensed = needs_license(settings, profile)
    if is_licensed:
        _check_license(settings, profile, check)
    folder = target or weights_folder(profile, settings)
    if is_installed(folder):
        return Source(profile.name, str(folder), profile)
    if is_licensed and check.brings_weights:
        fetch = FetchFromService(
            profile.name,
            str(folder),
            check.license_text,
            settings.license_service,
            settings.cuda_version,
            str(settings.cache_dir),
        )
        return Source(profile.name, str(folder), profile, fetch)
    if profile.embedded is None:
        raise WeightsError(
            msg(
                "The weights of {title} are not on this machine, and this licence does not include them.",
                title=profile.title,
            ),
            msg("Put them into {folder}, or give the folder that holds them: --model PATH.", folder=folder),
        )
    return Source(profile.name, str(demo_model.folder(profile, settings.cache_dir)), profile, is_made_here=True)


def weights_folder(profile: Profile, settings: Settings) -> Path:
    """The folder for the weights that come with a licence."""
    return settings.cache_dir / "models" / profile.name


def _check_license(settings: Settings, profile: Profile, check: LicenseCheck) -> None:
    if settings.license is None:
        raise LicenseError(
            msg("{title} needs a licence.", title=profile.title), "Give it with --license or MARITALK_LICENSE."
        )
    allowed = check.entitlement.models
    if profile.name not in allowed:
        raise LicenseError(
            msg("This licence is for {allowed}, not for {name}.", allowed=", ".join(allowed), name=profile.name),
            "Ask for one that includes it, or leave --model out.",
        )


def open_model(model: str, revision: str | None = None) -> Source:
    """Locate a model that needs no licence key, by folder, by its name in the catalogue or on Hugging Face.

    Raises UsageError or WeightsError.
    """
    if (folder := model_folder(model)) is not None:
        if not has_config(folder):
            hint = (
                msg("Its GGUF files are not served. What is served is {served}.", served=SERVED)
                if holds_gguf(folder)
                else ""
            )
            raise WeightsError(
                msg("{path} holds no model: it has no config.json.", path=Path(model)),
                hint or "Give the folder of a checkpoint.",
            )
        return Source(folder.name, str(folder), given_folder=Path(model).expanduser().absolute())
    if (entry := catalogue.find(model)) is not None:
        return replace(_hub_source(entry.hub_name, revision or entry.revision), name=entry.name, entry=entry)
    if _HUGGING_FACE_NAME.fullmatch(model):
        huggingface.check_name(model)
        return _hub_source(model, revision)
    name, _, variant = model.partition(":")
    if variant and (entry := catalogue.find(name)) is not None:
        raise UsageError(
            msg("{name} has no variant {variant}.", name=name, variant=variant),
            did_you_mean(model, (each.full_name for each in entry.checkpoints)),
        )
    aliases = [alias for profile in profiles().values() for alias in profile.aliases]
    raise UsageError(
        msg("There is no model {model}: it is no profile, no folder and no Hugging Face name.", model=model),
        did_you_mean(model, [*profiles(), *catalogue.catalogue()], aliases),
    )


def _hub_source(name: str, revision: str | None) -> Source:
    cached = huggingface.snapshot(name, revision)
    if cached is None:
        return Source(name, name, fetch=FetchFromHub(name, revision))
    return Source(name, str(cached), hub_reference=huggingface.reference(cached, revision))
