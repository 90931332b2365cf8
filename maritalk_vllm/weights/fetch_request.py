"""A download of weights as data, so that another process can be asked to do it."""

from pathlib import Path

import msgspec

from ..licensing.license_check import LicenseCheck
from ..models.profile import find
from ..settings import Settings
from .download_progress import Progress
from .partial_file import Link

_MAX_RATIO = 4
"""Largest archive, as a multiple of the profile's weights: it may hold float32 weights with little compression."""


class FetchFromHub(msgspec.Struct, frozen=True, tag="hub"):
    """A model of Hugging Face, for its own cache."""

    name: str
    revision: str | None = None

    def run(self, progress: Progress) -> None:
        """Download what the cache does not have. Raises WeightsError."""
        from . import huggingface

        huggingface.fetch(self.name, self.revision, progress)


class FetchFromService(msgspec.Struct, frozen=True, tag="service"):
    """The weights of a profile that come with a licence, to be installed in `folder`.

    The other fields are those of `Settings`, with the licence itself in place of its file.
    """

    profile: str
    folder: str
    license: str
    license_service: str
    cuda_version: str | None
    cache_dir: str

    def __repr__(self) -> str:
        """The request without its licence, which no log and no traceback may show."""
        return f"FetchFromService({self.profile!r}, {self.folder!r})"

    def run(self, progress: Progress) -> None:
        """Ask the service for a link, download and install. Raises LicenseError or WeightsError."""
        from .install import fetch  # imports httpx, which takes a third of the time of a plan

        settings = Settings(
            license=self.license,
            license_service=self.license_service,
            cuda_version=self.cuda_version,
            cache_dir=Path(self.cache_dir),
        )
        check, profile = LicenseCheck(settings), find(self.profile)
        assert profile is not None

        def get_link() -> Link:
            response = check.request_weights(profile.name)
            return Link(response.url, response.size, response.sha256)

        fetch(Path(self.folder), get_link, profile.title, progress, max_bytes=_MAX_RATIO * profile.weights_bytes)


FetchRequest = FetchFromHub | FetchFromService
