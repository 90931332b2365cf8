"""List the members of a zip or tar file within bounds: reading stops before an oversized list fills the memory."""

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
from ..i18n.message import Number, msg
from ..text_format import gigabytes

MAX_MEMBERS = 10_000
"""Most files and folders in an archive."""

GZIP = b"\x1f\x8b"
CHUNK = 1 << 20

HINT = "Nothing was unpacked. Tell the licence's issuer."

_ZIP_LIST_BYTES = 8 << 20
_TAR_LIST_BYTES = 16 << 20
_TAR_HEADER_BYTES = 16 << 10
"""Longest name or attributes of one member, which tarfile reads in one piece."""

_MAX_RATIO = 10
_ALWAYS_ALLOWED_BYTES = 1 << 30
"""The unpacked size is at most `_MAX_RATIO` times the archive's size plus this: weights hardly compress."""

_MAX_TRAILING_BYTES = 16 << 20
"""Longest padding after the end of a tar, which consists of zeros."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive; `is_regular` is false for folders, links, devices and unsupported or encrypted files."""

    name: str
    size: int
    is_folder: bool
    is_regular: bool
    open: Callable[[], IO[bytes]]


@contextmanager
def members(archive: Path) -> Iterator[list[Member]]:
    """List the members, which can be opened within the context. Raises WeightsError if damaged or over a bound."""
    max_bytes = _MAX_RATIO * archive.stat().st_size + _ALWAYS_ALLOWED_BYTES
    try:
        with archive.open("rb") as file:
            if zipfile.is_zipfile(file):
                listing = _BoundedReader(file, _ZIP_LIST_BYTES)
                with zipfile.ZipFile(listing) as opened:
                    found = _check_bounds((_zip_member(opened, info) for info in opened.infolist()), max_bytes)
                    listing.release()
                    yield found
                return
            file.seek(0)
            is_gzip = file.read(2) == GZIP
            file.seek(0)
            content: IO[bytes] = gzip.GzipFile(fileobj=file) if is_gzip else file  # type: ignore[assignment]
            listing = _BoundedReader(content, _TAR_LIST_BYTES, _TAR_HEADER_BYTES)
            with tarfile.open(fileobj=listing, mode="r:") as opened_tar:
                found = _check_bounds((_tar_member(opened_tar, info) for info in opened_tar), max_bytes)
                listing.release()
                yield found
                _read_to_end(content)
    except _READ_ERRORS as error:
        raise damaged(str(error) or type(error).__name__) from error


_READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RecursionError,
    # Both libraries raise these for some invalid numbers and names.
    ValueError,
    OverflowError,
    LookupError,
)


def damaged(reason: str) -> WeightsError:
    """The error for an archive that cannot be read."""
    return WeightsError(msg("The archive is damaged: {reason}.", reason=reason), "Download it again.")


def _check_bounds(listing: Iterator[Member], max_bytes: int) -> list[Member]:
    """Check members one by one, since finding the next one in a compressed tar decompresses the one before."""
    found: list[Member] = []
    total = 0
    for member in listing:
        found.append(member)
        total += member.size
        if len(found) > MAX_MEMBERS:
            raise WeightsError(
                msg("The archive holds more than {number} files, more than any model.", number=Number(MAX_MEMBERS)),
                HINT,
            )
        if member.size < 0 or total > max_bytes:
            raise WeightsError(
                msg(
                    "The archive holds more than {size} unpacked, too much for its own size.", size=gigabytes(max_bytes)
                ),
                HINT,
            )
    return found


class _BoundedReader:
    """A file that limits the bytes read in total, and in one read, until `release` is called after the list is read."""

    def __init__(self, file: IO[bytes], max_bytes: int, max_read_bytes: int | None = None) -> None:
        self._file = file
        self._remaining: int | None = max_bytes
        self._max_read_bytes = max_read_bytes or max_bytes

    def read(self, size: int = -1) -> bytes:
        if self._remaining is None:
            return self._file.read(size)
        limit = min(self._remaining, self._max_read_bytes)
        data = self._file.read(min(size, limit + 1) if size >= 0 else limit + 1)
        if len(data) > limit:
            raise WeightsError("The archive holds a list of files that is longer than any model's.", HINT)
        self._remaining -= len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Raises ValueError for a negative offset: the archive is damaged, and not the disk."""
        if whence == os.SEEK_SET and offset < 0:
            raise ValueError(msg("it has nothing at {offset}", offset=offset))
        return self._file.seek(offset, whence)

    def release(self) -> None:
        """Lift the limits: the list has been read, and the files come next."""
        self._remaining = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)


def _read_to_end(content: IO[bytes]) -> None:
    """Read on after the end of the tar, because gzip's checksum comes last."""
    trailing = 0
    while chunk := content.read(CHUNK):
        trailing += len(chunk)
        if trailing > _MAX_TRAILING_BYTES:
            raise damaged("it continues after its end")


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    # The upper 16 bits hold the file type if the archive was created on Unix; otherwise there are only regular files.
    kind = stat.S_IFMT(info.external_attr >> 16)
    encrypted = bool(info.flag_bits & 1)
    # LZMA allocates as much memory as the file asks for.
    supported = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    is_regular = kind in (0, stat.S_IFREG) and not encrypted and supported
    return Member(info.filename, info.file_size, info.is_dir(), is_regular, lambda: archive.open(info))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    # Only regular files are opened, for which extractfile() never returns None.
    is_regular = info.isreg() and not info.issparse()
    # tarfile skips the bytes of members of unknown types, and those of a sparse file that are in the archive.
    size = info.size if is_regular else max(info.size if info.isreg() else 0, archive.offset - info.offset_data)
    return Member(info.name, size, info.isdir(), is_regular, lambda: archive.extractfile(info))  # type: ignore[arg-type, return-value]
