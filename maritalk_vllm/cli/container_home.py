"""The home of a container: a folder of the host that it was given, so that what it fetches is there the next time."""

import os
from collections.abc import MutableMapping
from pathlib import Path

from ..language import say

VARIABLE = "MARITALK_HOME"
"""Names a folder that is home where it is there and may be written to; the images have MariTalk Local's, /root/bin."""


def use_mounted_home(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the folder `HOME`, below which all caches are. Call it before `settings` is imported: it looks there."""
    folder = _given(environment)
    if folder and _is_writable(folder):
        environment["HOME"] = str(folder)


def mounted_home_warning(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """What whoever gave a folder to no avail should know."""
    folder = _given(environment)
    if folder is None or _is_writable(folder):
        return None
    owner = folder.stat()
    return say(
        "User {user} may not write to {folder}: what is downloaded goes to {home} instead. "
        "Start the container as the folder's owner: docker run --user {owner}:{group}.",
        user=os.getuid(),
        folder=folder,
        home=environment.get("HOME"),
        owner=owner.st_uid,
        group=owner.st_gid,
    )


def _given(environment: MutableMapping[str, str]) -> Path | None:
    name = environment.get(VARIABLE)
    try:
        return Path(name) if name and Path(name).is_dir() else None
    except OSError:  # it is below a folder that is closed to us, or no name of a folder
        return None


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
