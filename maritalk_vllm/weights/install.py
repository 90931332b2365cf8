"""Install a model from a link: download its archive, check it, unpack it, and rename the folder last."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import WeightsError
from ..i18n.message import msg
from ..models.atomic_install import check_space, install_atomically, sibling
from ..models.checkpoint import read_checkpoint
from .archive import unpack, unpacked_bytes
from .download import Download, RetryPolicy
from .download_progress import Progress
from .partial_file import Link, PartialFile


def fetch(
    folder: Path,
    get_link: Callable[[], Link],
    what: str,
    progress: Progress,
    retry_policy: RetryPolicy | None = None,
    max_bytes: int | None = None,
) -> None:
    """Install the model `what` in `folder`, once, even with concurrent processes. Raises WeightsError.

    `get_link` returns a link to the archive, which has at most `max_bytes` if the link does not give its size. An
    interrupted install leaves no folder of that name, and the next call resumes it.
    """
    part = PartialFile(sibling(folder, "download"))

    def fill(target: Path) -> None:
        link = Download(part, get_link, what, progress, retry_policy, max_bytes).run()
        with _discard_on_error(part):
            _check(part, link, what, progress)
            size = unpacked_bytes(part.file)
        check_space(folder.parent, size, what)
        with _discard_on_error(part):
            unpack(part.file, target, lambda done: progress(msg("Unpacking {what}", what=what), done, size))
            read_checkpoint(target)

    install_atomically(
        folder, fill, what, lambda: progress(msg("Waiting for another download of {what}", what=what), 0, None)
    )
    part.discard()


@contextmanager
def _discard_on_error(part: PartialFile) -> Iterator[None]:
    """Discard the download if it turns out to be damaged or wrong, so that the next attempt does not use it."""
    try:
        yield
    except WeightsError:
        part.discard()
        raise


def _check(part: PartialFile, link: Link, what: str, progress: Progress) -> None:
    if link.sha256 is None:
        return
    progress(msg("Checking {what}", what=what), 0, None)
    with part.file.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != link.sha256.lower():
        raise WeightsError(
            msg(
                "The download of {what} is damaged: its SHA-256 begins with {found} instead of {sha256}.",
                what=what,
                found=found[:12],
                sha256=link.sha256[:12],
            ),
            "Run it again; if that does not help, tell the licence's issuer.",
        )
