"""Puts a model on the disk: whole or not at all, once, whoever else tries at the same time."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import WeightsError
from ..text_format import gigabytes

_CHOOSE = "Free some space there, or choose another folder with --cache-dir."


def is_installed(folder: Path) -> bool:
    """Whether the model is there. The folder gets its name last, so what has the name is whole."""
    try:
        return folder.is_dir()
    except OSError:  # a closed folder on the way: whoever writes there says so
        return False


def install_atomically(
    folder: Path, fill: Callable[[Path], None], what: str, waiting: Callable[[], None] = lambda: None
) -> None:
    """Make `folder` by filling another, which gets its name at the end. Raises WeightsError, and what `fill` raises.

    Interrupted at any moment, it leaves no folder of that name. `waiting` is called if somebody else is at it already:
    then theirs is waited for, and taken if they succeed.
    """
    aside = sibling(folder, "partial")
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
            shutil.rmtree(aside, ignore_errors=True)  # of an attempt that was interrupted: we hold the lock
            try:
                fill(aside)
                _flush(aside)
                aside.rename(folder)
            except Exception:
                shutil.rmtree(aside, ignore_errors=True)
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
        raise WeightsError(f"{what} needs {gigabytes(needed)} in {where}, where {gigabytes(free)} are free.", _CHOOSE)


def _flush(folder: Path) -> None:
    """Bring the files to the disk before the rename does: a power cut must not leave a whole name on half a model."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk_errors(where: Path, what: str) -> Iterator[None]:
    """Turn a full or forbidden disk into a sentence, whichever library met it."""
    try:
        yield
    except Exception as error:
        number = _os_error(error)
        if number is None:
            raise
        raise WeightsError(f"{what} cannot be written to {where}: {os.strerror(number)}.", _CHOOSE) from error


def _os_error(error: Exception) -> int | None:
    """The operating system's number for what went wrong, if it was the operating system."""
    if isinstance(error, OSError):
        return error.errno
    # safetensors is written in Rust and raises an error of its own.
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
