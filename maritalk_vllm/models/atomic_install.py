"""Install a model on the disk atomically: complete or not at all, and once, even with concurrent processes."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import WeightsError
from ..i18n.message import msg
from ..text_format import gigabytes

_HINT = "Free some space there, or choose another folder with --cache-dir."


def is_installed(folder: Path) -> bool:
    """Whether the model is installed. The folder is renamed last, so a folder of this name is complete."""
    try:
        return folder.is_dir()
    except OSError:  # a parent folder without permission: writing to it reports the error
        return False


def install_atomically(
    folder: Path, fill: Callable[[Path], None], what: str, waiting: Callable[[], None] = lambda: None
) -> None:
    """Create `folder` by filling a temporary folder and renaming it. Raises WeightsError, and what `fill` raises.

    An interrupted install leaves no folder of that name. If another process is installing the same folder, call
    `waiting`, wait for that process, and use its result if it succeeds. `what` names the model in errors.
    """
    partial = sibling(folder, "partial")
    with _disk_errors(folder.parent, what):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(sibling(folder, "lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
        try:
            if is_installed(folder):
                return
            shutil.rmtree(partial, ignore_errors=True)  # left by an interrupted attempt: we hold the lock
            try:
                fill(partial)
                _fsync(partial)
                partial.rename(folder)
            except Exception:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        finally:
            lock.release()


def sibling(folder: Path, ending: str) -> Path:
    """`model` -> `model.partial`."""
    return folder.with_name(f"{folder.name}.{ending}")


def check_space(where: Path, needed: int, what: str) -> None:
    """Raises WeightsError if the disk of the folder `where` has less than `needed` bytes free."""
    free = shutil.disk_usage(where).free
    if free < needed:
        raise WeightsError(
            msg(
                "{what} needs {needed} in {where}, where {free} are free.",
                what=what,
                needed=gigabytes(needed),
                where=where,
                free=gigabytes(free),
            ),
            _HINT,
        )


def _fsync(folder: Path) -> None:
    """Fsync the files before the rename, so that a power cut cannot leave an incomplete model under the final name."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk_errors(where: Path, what: str) -> Iterator[None]:
    """Raise WeightsError for a disk that is full or not writable, whichever library reports it."""
    try:
        yield
    except Exception as error:
        number = _errno(error)
        if number is None:
            raise
        raise WeightsError(
            msg("{what} cannot be written to {where}: {reason}.", what=what, where=where, reason=os.strerror(number)),
            _HINT,
        ) from error


def _errno(error: Exception) -> int | None:
    """The errno of an error of the operating system; None for other errors."""
    if isinstance(error, OSError):
        return error.errno
    if not type(error).__module__.startswith("safetensors"):
        return None
    # safetensors is written in Rust, and has the number in the text of an error of its own.
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
