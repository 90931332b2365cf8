"""A zip or tar file with a model: looked through before anything of it is written, and unpacked without trusting it.

Neither library's own `extractall` is used: what is written are plain new files, whatever an archive says of links,
owners or modes.
"""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import WeightsError
from ..models.weights_files import is_junk

_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".tiktoken", ".txt", ".md"}
_NAMES = {"LICENSE", "LICENCE", "NOTICE"}
_MOST_FILES = 10_000
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_ASK = "Nothing was unpacked. Tell whoever gave you the licence."

HEAD_BYTES = 512
"""So many bytes at the beginning show whether a file is an archive."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    regular: bool
    open: Callable[[], IO[bytes]]


def looks_like_archive(head: bytes) -> bool:
    """Whether a file that begins with these `HEAD_BYTES` may be a zip or a tar file, perhaps compressed by gzip."""
    return head.startswith((b"PK\x03\x04", _GZIP)) or head[257:262] == b"ustar"


def unpacked_bytes(archive: Path) -> int:
    """The size of what is in it, in bytes. Raises WeightsError if anything may not be in it, and names that."""
    with _members(archive) as members:
        return sum(member.size for member in _checked(members).values())


def unpack(archive: Path, folder: Path, progress: Callable[[int], None]) -> None:
    """Write what is in it into `folder`, which is made. `progress` is told the bytes written so far.

    Raises WeightsError before anything is written if something may not be in it, and later if it is damaged.
    """
    with _members(archive) as members:
        checked = _checked(members)
        folder.mkdir()
        done = 0
        for path, member in checked.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            written = 0
            with target.open("xb") as file, member.open() as content:
                while chunk := content.read(_CHUNK):
                    written += file.write(chunk)
                    progress(done + written)
            if written != member.size:
                raise _damaged(f"{member.name} has {written:,} bytes instead of {member.size:,}")
            done += written


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield [_zip_member(opened, info) for info in opened.infolist() if not info.is_dir()]
        else:
            with tarfile.open(archive, "r:gz" if _is_gzip(archive) else "r:") as opened_tar:
                yield [_tar_member(opened_tar, info) for info in opened_tar if not info.isdir()]
                _read_to_the_end(opened_tar)
    except _UNREADABLE as error:
        raise _damaged(str(error)) from error


def _read_to_the_end(archive: tarfile.TarFile) -> None:
    """The checksum of gzip comes last, after all that tar reads."""
    assert archive.fileobj is not None
    while archive.fileobj.read(_CHUNK):
        pass


_UNREADABLE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


def _damaged(reason: str) -> WeightsError:
    return WeightsError(f"The archive is damaged: {reason}.", "Download it again.")


def _is_gzip(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(2) == _GZIP


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    # The upper half holds the file's type where the archive was made on Unix; elsewhere there are only files.
    kind = stat.S_IFMT(info.external_attr >> 16)
    encrypted = bool(info.flag_bits & 1)
    return _Member(
        info.filename, info.file_size, kind in (0, stat.S_IFREG) and not encrypted, lambda: archive.open(info)
    )


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    # Of a plain file, which alone is opened, extractfile() is never None.
    return _Member(info.name, info.size, info.isreg(), lambda: archive.extractfile(info))  # type: ignore[arg-type, return-value]


def _checked(members: list[_Member]) -> dict[PurePosixPath, _Member]:
    """The members by where they go, without those of no use. The folder that all are in is left out."""
    if not members:
        raise WeightsError("The archive holds no files.", _ASK)
    if len(members) > _MOST_FILES:
        raise WeightsError(f"The archive holds {len(members)} files, more than any model.", _ASK)
    found: dict[PurePosixPath, _Member] = {}
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name or not path.parts:
            raise WeightsError(f"The archive holds a file that lies outside of it: {member.name!r}.", _ASK)
        if is_junk(path):
            continue
        if not member.regular:
            raise WeightsError(f"The archive holds what is no plain file: {member.name!r}.", _ASK)
        if path.suffix not in _SUFFIXES and path.name not in _NAMES:
            raise WeightsError(
                f"The archive holds {member.name!r}, which is neither weights in safetensors nor JSON nor a tokenizer.",
                _ASK,
            )
        if path in found:
            raise WeightsError(f"The archive holds {member.name!r} twice.", _ASK)
        found[path] = member
    if not found:
        raise WeightsError("The archive holds no files of a model.", _ASK)
    tops = {path.parts[0] for path in found}
    if len(tops) == 1 and all(len(path.parts) > 1 for path in found):
        return {PurePosixPath(*path.parts[1:]): member for path, member in found.items()}
    return found
