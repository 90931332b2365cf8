"""Unpack a zip or tar file with a model without trusting it: it is checked completely before anything is written.

The libraries' own `extractall` is not used: only new regular files are written, regardless of links, owners or
modes in the archive.
"""

import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..errors import WeightsError
from ..i18n.message import Number, msg
from ..models.weights_files import is_junk
from .archive_members import CHUNK, GZIP, HINT, Member, damaged, members

_SUFFIXES = {".safetensors", ".json", ".jinja", ".model", ".tiktoken", ".txt", ".md"}
_NAMES = {"LICENSE", "LICENCE", "NOTICE"}

HEAD_BYTES = 512
"""Number of bytes at the start of a file that show whether it is an archive."""

_MAX_DEPTH = 20
_MAX_NAME_BYTES = 255
"""Longest path component, in bytes, that file systems accept."""

_MAX_PATH_BYTES = 1000
"""Longest path of a member, in bytes, which leaves room for the path of the target folder."""


def looks_like_archive(head: bytes) -> bool:
    """Whether a file that starts with these `HEAD_BYTES` may be a zip or tar file, possibly compressed with gzip."""
    return head.startswith((b"PK\x03\x04", GZIP)) or head[257:262] == b"ustar"


def unpacked_bytes(archive: Path) -> int:
    """Total size of the files in the archive, in bytes. Raises WeightsError, which names it, for a forbidden member."""
    with members(archive) as listing:
        return sum(member.size for member in _files_by_path(listing).values())


def unpack(archive: Path, folder: Path, progress: Callable[[int], None]) -> None:
    """Create `folder` and unpack the archive into it. `progress` is called with the number of bytes written so far.

    Raises WeightsError before anything is written for a forbidden member, and later for a damaged archive.
    """
    with members(archive) as listing:
        files = _files_by_path(listing)
        folder.mkdir()
        done = 0
        for path, member in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            written = 0
            with target.open("xb") as file, member.open() as content:
                while chunk := content.read(CHUNK):
                    written += file.write(chunk)
                    progress(done + written)
            if written != member.size:
                raise damaged(
                    msg(
                        "{name} has {written} bytes instead of {number}",
                        name=member.name,
                        written=Number(written),
                        number=Number(member.size),
                    )
                )
            done += written


def _files_by_path(listing: list[Member]) -> dict[PurePosixPath, Member]:
    """Map target paths to files, without those that are not needed. A top folder common to all files is stripped."""
    if all(member.is_folder for member in listing):
        raise WeightsError("The archive holds no files.", HINT)
    found: dict[PurePosixPath, Member] = {}
    names = _PathCollisions()
    for member in listing:
        path = _member_path(member)
        if is_junk(path):
            continue
        if not member.is_folder:
            _check_file(member, path)
            if path in found:
                raise WeightsError(msg("The archive holds {name!r} twice.", name=member.name), HINT)
            found[path] = member
        names.add(path, member.is_folder)
    if not found:
        raise WeightsError("The archive holds no files of a model.", HINT)
    top_folders = {path.parts[0] for path in found}
    if len(top_folders) == 1 and all(len(path.parts) > 1 for path in found):
        return {PurePosixPath(*path.parts[1:]): member for path, member in found.items()}
    return found


def _member_path(member: Member) -> PurePosixPath:
    """The member's path. Raises WeightsError for a path outside of the target folder, or too long for file systems."""
    name = member.name
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not (path.parts or member.is_folder):
        raise WeightsError(
            msg("The archive holds a path outside of its folder: {name!r}.", name=name[:_MAX_PATH_BYTES]), HINT
        )
    lengths = [len(part.encode(errors="surrogatepass")) for part in path.parts]
    if max(lengths, default=0) > _MAX_NAME_BYTES or sum(lengths) + len(lengths) > _MAX_PATH_BYTES:
        raise WeightsError(
            msg("The archive holds a name that is too long: {name!r}.", name=name[:_MAX_NAME_BYTES]), HINT
        )
    if len(lengths) > _MAX_DEPTH:
        raise WeightsError(
            msg("The archive holds more than {number} nested folders: {name!r}.", number=_MAX_DEPTH, name=name), HINT
        )
    return path


def _check_file(member: Member, path: PurePosixPath) -> None:
    if not member.is_regular:
        raise WeightsError(msg("The archive holds {name!r}, which is not a regular file.", name=member.name), HINT)
    if path.suffix not in _SUFFIXES and path.name not in _NAMES:
        raise WeightsError(
            msg(
                "The archive holds {name!r}, which is neither weights in safetensors nor JSON nor a tokenizer.",
                name=member.name,
            ),
            HINT,
        )


class _PathCollisions:
    """The paths of an archive, as on a file system that ignores case and Unicode normalization forms."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[PurePosixPath, bool]] = {}

    def add(self, path: PurePosixPath, folder: bool) -> None:
        """Raises WeightsError if the path collides with another, or is a file in one place and a folder in another."""
        for each, is_folder in ((path, folder), *((parent, True) for parent in path.parents)):
            key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(each)).casefold())
            other, was_folder = self._seen.setdefault(key, (each, is_folder))
            if other != each:
                raise WeightsError(
                    msg(
                        "The archive holds {other!r} and {each!r}, which many systems take for one.",
                        other=str(other),
                        each=str(each),
                    ),
                    HINT,
                )
            if is_folder != was_folder:
                raise WeightsError(msg("The archive holds {each!r} as a file and as a folder.", each=str(each)), HINT)
