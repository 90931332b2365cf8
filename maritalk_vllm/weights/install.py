"""From a link to a folder with a model: fetched, checked, unpacked, and only then given its name."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import WeightsError
from ..models.atomic_install import check_space, install_atomically, sibling
from ..models.checkpoint import read_checkpoint
from .archive import unpack, unpacked_bytes
from .download import Download, RetryPolicy
from .download_progress import Progress
from .partial_file import Link, PartialFile


def fetch(
    folder: Path,
    ask: Callable[[], Link],
    what: str,
    progress: Progress,
    patience: RetryPolicy | None = None,
    most_bytes: int | None = None,
) -> None:
    """Bring the model `what` into `folder`, once, whoever else tries at the same time. Raises WeightsError.

    `ask` gives a link to its archive, which has at most `most_bytes` if the link does not say its size. Interrupted at
    any moment, it leaves no folder of that name, and goes on where it stopped when it is called again.
    """
    part = PartialFile(sibling(folder, "download"))

    def fill(aside: Path) -> None:
        link = Download(part, ask, what, progress, patience, most_bytes).run()
        with _of_no_use(part):
            _check(part, link, what, progress)
            size = unpacked_bytes(part.file)
        check_space(folder.parent, size, what)
        with _of_no_use(part):
            unpack(part.file, aside, lambda done: progress(f"Unpacking {what}", done, size))
            read_checkpoint(aside)

    install_atomically(folder, fill, what, lambda: progress(f"Waiting for another download of {what}", 0, None))
    part.forget()


@contextmanager
def _of_no_use(part: PartialFile) -> Iterator[None]:
    """Remove what is damaged, or not what it should be: the next try must not meet it."""
    try:
        yield
    except WeightsError:
        part.forget()
        raise


def _check(part: PartialFile, link: Link, what: str, progress: Progress) -> None:
    if link.sha256 is None:
        return
    progress(f"Checking {what}", 0, None)
    with part.file.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != link.sha256.lower():
        raise WeightsError(
            f"The download of {what} is damaged: its SHA-256 begins with {found[:12]} instead of {link.sha256[:12]}.",
            "Run it again; if that does not help, tell the licence's issuer.",
        )
