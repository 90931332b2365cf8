"""`maritalk-vllm install-launcher`: writes the executable that the published client's `start_server()` runs."""

import shlex
import sysconfig
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..i18n.message import msg
from ..i18n.rendering import say
from . import path_options

_FIRST_LINES = "#!/bin/sh\n# Made by `maritalk-vllm install-launcher`.\n"


def install_launcher(
    path: Annotated[
        Path,
        typer.Option(
            "--path", help="Where the client looks for its executable.", metavar="FILE", callback=path_options.checked
        ),
    ] = Path("~/bin/maritalk"),
) -> None:
    """Install the launcher for `client.start_server()`. The published client runs it, and it starts maritalk-serve.

    The client gives it a licence and a port alone. All else is set in the environment or in a file: MARITALK_CONFIG.
    """
    _check_not_foreign(path)
    server = Path(sysconfig.get_path("scripts")) / "maritalk-serve"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written under a temporary name, so that a client never runs a partial file.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as temporary:
            temporary.write(f'{_FIRST_LINES}exec {shlex.quote(str(server))} "$@"\n')
        written = Path(temporary.name)
        written.chmod(0o755)
        written.replace(path)
    except OSError as error:
        raise UsageError(
            msg("{file} cannot be written: {reason}.", file=path, reason=error.strerror), "Choose another --path."
        ) from error
    print(say("Written: {target}, which starts {server}", target=path, server=server))


def _check_not_foreign(target: Path) -> None:
    """Raises UsageError if another file exists: MariTalk Local's own executable is a download of 14 GB."""
    try:
        with target.open("rb") as file:
            is_ours = file.read(len(_FIRST_LINES)) == _FIRST_LINES.encode()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            msg("{target} cannot be read: {reason}.", target=target, reason=error.strerror),
            "Choose another --path.",
        ) from error
    if not is_ours:
        raise UsageError(
            msg("{target} already exists and is not a launcher.", target=target),
            "Move it away, or choose another --path.",
        )
