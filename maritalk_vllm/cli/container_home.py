"""Home folder of a container: a mounted folder of the host, so that downloads persist."""

import os
from collections.abc import MutableMapping
from pathlib import Path

from ..i18n.rendering import say

VARIABLE = "MARITALK_HOME"
"""Variable with the folder to use as home if it exists and is writable; in the images MariTalk Local's, /root/bin."""


def use_mounted_home(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set `HOME`, below which all caches are, to the folder."""
    folder = _mounted_folder(environment)
    if folder and _is_writable(folder):
        environment["HOME"] = str(folder)


def mounted_home_warning(environment: MutableMapping[str, str] = os.environ) -> str | None:
    """Warning that a mounted folder is not writable; None if it is, or if there is none."""
    folder = _mounted_folder(environment)
    if folder is None or _is_writable(folder):
        return None
    owner = folder.stat()
    return say(
        "User {user} may not write to {folder}: what is downloaded goes to {home} instead. Start the container as the "
        "folder's owner: docker run --user {owner}:{group}.",
        user=os.getuid(),
        folder=folder,
        home=environment.get("HOME"),
        owner=owner.st_uid,
        group=owner.st_gid,
    )


def _mounted_folder(environment: MutableMapping[str, str]) -> Path | None:
    name = environment.get(VARIABLE)
    try:
        return Path(name) if name and Path(name).is_dir() else None
    except OSError:  # a parent is not accessible, or the path is invalid
        return None


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
