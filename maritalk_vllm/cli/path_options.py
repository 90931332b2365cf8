"""Callback of path options: expands `~`, and rejects paths that no file system accepts, naming the option."""

import errno
import os
from pathlib import Path
from typing import Any

import typer

from ..i18n.message import msg


def checked(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:  # noqa: ANN401
    """Callback for options and arguments that are one or more paths. Raises typer.BadParameter."""
    if value is None:
        return None
    try:
        return [_path(each) for each in value] if isinstance(value, list | tuple) else _path(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), ctx=ctx, param=param) from None  # type: ignore[arg-type]


def _path(given: Path) -> Path:
    """Expand `~`. Raises ValueError with a message for the user."""
    try:
        path = given.expanduser()
    except RuntimeError:
        raise ValueError(
            msg("there is no user {user} on this machine.", user=given.parts[0].removeprefix("~"))
        ) from None
    if "\0" in str(path):
        raise ValueError("a path cannot have a NUL character.")
    try:
        path.stat()
    except OSError as error:
        # Commands report missing or inaccessible paths themselves, but not all of them handle these two errors.
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise ValueError(msg("{reason}.", reason=os.strerror(error.errno))) from None
    return path
