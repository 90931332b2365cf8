"""What a zip or tar file lists, read within bounds: a list that is too long is given up before it is all in memory."""

import gzip
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import WeightsError
from ..text_format import gigabytes

MOST_MEMBERS = 10_000
"""Files and folders together."""

GZIP = b"\x1f\x8b"
CHUNK = 1 << 20

ASK = "Nothing was unpacked. Tell the licence's issuer."

_ZIP_LIST_BYTES = 8 << 20
_TAR_LIST_BYTES = 16 << 20
_TAR_HEADER_BYTES = 16 << 10
"""Of one member's long name or attributes, which tarfile reads as one piece."""

_MOST_TIMES = 10
_SMALL_BYTES = 1 << 30
"""What is unpacked has at most so many times the archive's bytes, and this: weights hardly compress."""

_REST_BYTES = 16 << 20
"""What may follow the end of a tar: it is filled up with zeros."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder of an archive; `plain` is false for links, devices and what needs more than reading."""

    name: str
    size: int
    folder: bool
    plain: bool
    open: Callable[[], IO[bytes]]


@contextmanager
def members(archive: Path) -> Iterator[list[Member]]:
    """All that it lists, to be opened while this lasts. Raises WeightsError if it is damaged or over a bound."""
    most_bytes = _MOST_TIMES * archive.stat().st_size + _SMALL_BYTES
    try:
        with archive.open("rb") as file:
            if zipfile.is_zipfile(file):
                listed = _Listed(file, _ZIP_LIST_BYTES)
                with zipfile.ZipFile(listed) as opened:
                    found = _bounded((_zip_member(opened, info) for info in opened.infolist()), most_bytes)
                    listed.release()
                    yield found
                return
            file.seek(0)
            is_gzip = file.read(2) == GZIP
            file.seek(0)
            content: IO[bytes] = gzip.GzipFile(fileobj=file) if is_gzip else file  # type: ignore[assignment]
            listed = _Listed(content, _TAR_LIST_BYTES, _TAR_HEADER_BYTES)
            with tarfile.open(fileobj=listed, mode="r:") as opened_tar:
                found = _bounded((_tar_member(opened_tar, info) for info in opened_tar), most_bytes)
                listed.release()
                yield found
                _read_to_the_end(content)
    except _UNREADABLE as error:
        raise damaged(str(error) or type(error).__name__) from error


_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RecursionError,
    # Numbers and names that are none, of which neither library makes an error of its own.
    ValueError,
    OverflowError,
    LookupError,
)


def damaged(reason: str) -> WeightsError:
    """The error for an archive that cannot be read."""
    return WeightsError(f"The archive is damaged: {reason}.", "Download it again.")


def _bounded(listed: Iterator[Member], most_bytes: int) -> list[Member]:
    """All of them, looked at one by one: the next of a compressed tar comes after the bytes of the one before."""
    found: list[Member] = []
    total = 0
    for member in listed:
        found.append(member)
        total += member.size
        if len(found) > MOST_MEMBERS:
            raise WeightsError(f"The archive holds more than {MOST_MEMBERS:,} files, more than any model.", ASK)
        if member.size < 0 or total > most_bytes:
            raise WeightsError(
                f"The archive holds more than {gigabytes(most_bytes)} unpacked, too much for its own size.", ASK
            )
    return found


class _Listed:
    """A file whose list is read first: no more than so many bytes of it, and of one piece, until it is released."""

    def __init__(self, file: IO[bytes], most_bytes: int, most_piece: int | None = None) -> None:
        self._file = file
        self._left: int | None = most_bytes
        self._piece = most_piece or most_bytes

    def read(self, size: int = -1) -> bytes:
        if self._left is None:
            return self._file.read(size)
        most = min(self._left, self._piece)
        data = self._file.read(min(size, most + 1) if size >= 0 else most + 1)
        if len(data) > most:
            raise WeightsError("The archive holds a list of files that is longer than any model's.", ASK)
        self._left -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Raises ValueError for a place before the beginning, which is the archive's fault and not the disk's."""
        if whence == os.SEEK_SET and offset < 0:
            raise ValueError(f"it has nothing at {offset}")
        return self._file.seek(offset, whence)

    def release(self) -> None:
        """The list is read: from now on, so are the files."""
        self._left = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)


def _read_to_the_end(content: IO[bytes]) -> None:
    """The checksum of gzip comes last, after all that tar reads."""
    rest = 0
    while chunk := content.read(CHUNK):
        rest += len(chunk)
        if rest > _REST_BYTES:
            raise damaged("it goes on after its end")


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    # The upper half holds the file's type where the archive was made on Unix; elsewhere there are only files.
    kind = stat.S_IFMT(info.external_attr >> 16)
    encrypted = bool(info.flag_bits & 1)
    # LZMA takes as much memory as the file says.
    known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    plain = kind in (0, stat.S_IFREG) and not encrypted and known
    return Member(info.filename, info.file_size, info.is_dir(), plain, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    # Of a plain file, which alone is opened, extractfile() is never None.
    plain = info.isreg() and not info.issparse()
    # tarfile reads past the bytes of kinds that it does not know, and of a sparse file those that are there.
    size = info.size if plain else max(info.size if info.isreg() else 0, archive.offset - info.offset_data)
    return Member(info.name, size, info.isdir(), plain, lambda: archive.extractfile(info))  # type: ignore[arg-type, return-value]
