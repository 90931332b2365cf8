"""Every option that is a path: `~` is expanded, and what no file system takes is refused with the option's name."""

import errno
import os
from pathlib import Path
from typing import Any

import typer


def checked(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:  # noqa: ANN401
    """The callback of each option and argument that is a path, or several. Raises typer.BadParameter."""
    if value is None:
        return None
    try:
        return [_path(each) for each in value] if isinstance(value, list | tuple) else _path(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), ctx=ctx, param=param) from None  # type: ignore[arg-type]


def _path(given: Path) -> Path:
    """The path with its `~` expanded. Raises ValueError with a sentence."""
    try:
        path = given.expanduser()
    except RuntimeError:
        raise ValueError(f"there is no user {given.parts[0].removeprefix('~')} on this machine.") from None
    if "\0" in str(path):
        raise ValueError("a path cannot have a NUL character.")
    try:
        path.stat()
    except OSError as error:
        # Each use says by itself what is missing or closed. Of these two, some uses would not.
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise ValueError(f"{os.strerror(error.errno)}.") from None
    return path
