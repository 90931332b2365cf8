"""A zip or tar file with a model: looked through before anything of it is written, and unpacked without trusting it.

Neither library's own `extractall` is used: what is written are plain new files, whatever an archive says of links,
owners or modes.
"""

import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..errors import WeightsError
from ..models.weights_files import is_junk
from .archive_members import ASK, CHUNK, GZIP, Member, damaged, members

_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".tiktoken", ".txt", ".md"}
_NAMES = {"LICENSE", "LICENCE", "NOTICE"}

HEAD_BYTES = 512
"""So many bytes at the beginning show whether a file is an archive."""

_DEEPEST = 20
_LONGEST_NAME = 255
"""Bytes that a file system takes for one part of a path."""

_LONGEST_PATH = 1000
"""Bytes of a member's path, which leaves room for the folder that it goes into."""


def looks_like_archive(head: bytes) -> bool:
    """Whether a file that begins with these `HEAD_BYTES` may be a zip or a tar file, perhaps compressed by gzip."""
    return head.startswith((b"PK\x03\x04", GZIP)) or head[257:262] == b"ustar"


def unpacked_bytes(archive: Path) -> int:
    """The size of what is in it, in bytes. Raises WeightsError if anything may not be in it, and names that."""
    with members(archive) as listed:
        return sum(member.size for member in _checked(listed).values())


def unpack(archive: Path, folder: Path, progress: Callable[[int], None]) -> None:
    """Write what is in it into `folder`, which is made. `progress` is told the bytes written so far.

    Raises WeightsError before anything is written if something may not be in it, and later if it is damaged.
    """
    with members(archive) as listed:
        checked = _checked(listed)
        folder.mkdir()
        done = 0
        for path, member in checked.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            written = 0
            with target.open("xb") as file, member.open() as content:
                while chunk := content.read(CHUNK):
                    written += file.write(chunk)
                    progress(done + written)
            if written != member.size:
                raise damaged(f"{member.name} has {written:,} bytes instead of {member.size:,}")
            done += written


def _checked(listed: list[Member]) -> dict[PurePosixPath, Member]:
    """The files by where they go, without those of no use. The folder that all are in is left out."""
    if all(member.folder for member in listed):
        raise WeightsError("The archive holds no files.", ASK)
    found: dict[PurePosixPath, Member] = {}
    names = _Names()
    for member in listed:
        path = _path(member)
        if is_junk(path):
            continue
        if not member.folder:
            _check_file(member, path)
            if path in found:
                raise WeightsError(f"The archive holds {member.name!r} twice.", ASK)
            found[path] = member
        names.add(path, member.folder)
    if not found:
        raise WeightsError("The archive holds no files of a model.", ASK)
    tops = {path.parts[0] for path in found}
    if len(tops) == 1 and all(len(path.parts) > 1 for path in found):
        return {PurePosixPath(*path.parts[1:]): member for path, member in found.items()}
    return found


def _path(member: Member) -> PurePosixPath:
    """Where it would go. Raises WeightsError where it must not, or no file system takes it."""
    name = member.name
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not (path.parts or member.folder):
        raise WeightsError(f"The archive holds a file that lies outside of it: {name[:_LONGEST_PATH]!r}.", ASK)
    lengths = [len(part.encode(errors="surrogatepass")) for part in path.parts]
    if max(lengths, default=0) > _LONGEST_NAME or sum(lengths) + len(lengths) > _LONGEST_PATH:
        raise WeightsError(f"The archive holds a name that is too long: {name[:_LONGEST_NAME]!r}.", ASK)
    if len(lengths) > _DEEPEST:
        raise WeightsError(f"The archive holds more than {_DEEPEST} folders in each other: {name!r}.", ASK)
    return path


def _check_file(member: Member, path: PurePosixPath) -> None:
    if not member.plain:
        raise WeightsError(f"The archive holds what is no plain file: {member.name!r}.", ASK)
    if path.suffix not in _SUFFIXES and path.name not in _NAMES:
        raise WeightsError(
            f"The archive holds {member.name!r}, which is neither weights in safetensors nor JSON nor a tokenizer.",
            ASK,
        )


class _Names:
    """The files and folders of an archive, as a file system sees them that ignores case and the forms of accents."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[PurePosixPath, bool]] = {}

    def add(self, path: PurePosixPath, folder: bool) -> None:
        """Raises WeightsError if another of this name is there, or a folder where this is a file."""
        for each, is_folder in ((path, folder), *((parent, True) for parent in path.parents)):
            key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(each)).casefold())
            other, was_folder = self._known.setdefault(key, (each, is_folder))
            if other != each:
                raise WeightsError(
                    f"The archive holds {str(other)!r} and {str(each)!r}, which many systems take for one.", ASK
                )
            if is_folder != was_folder:
                raise WeightsError(f"The archive holds {str(each)!r} as a file and as a folder.", ASK)
