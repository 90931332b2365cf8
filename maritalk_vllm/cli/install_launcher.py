"""`maritalk-vllm install-launcher`: what `client.start_server()` of the published client runs."""

import shlex
import sysconfig
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..translation import translated
from . import path_options

_FIRST_LINES = "#!/bin/sh\n# Made by `maritalk-vllm install-launcher`.\n"


def install_launcher(
    path: Annotated[
        Path, typer.Option("--path", help="Where the client looks for its executable.", callback=path_options.checked)
    ] = Path("~/bin/maritalk"),
) -> None:
    """Write the executable that `client.start_server()` of the published client runs: it starts maritalk-serve.

    The client gives it a licence and a port alone. All else is set in the environment or in a file: MARITALK_CONFIG.
    """
    _check_ours(path)
    server = Path(sysconfig.get_path("scripts")) / "maritalk-serve"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole when it gets its name, which a client may be about to run.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as aside:
            aside.write(f'{_FIRST_LINES}exec {shlex.quote(str(server))} "$@"\n')
        written = Path(aside.name)
        written.chmod(0o755)
        written.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Choose another --path.") from error
    print(translated(f"Written: {path}, which starts {server}"))


def _check_ours(target: Path) -> None:
    """Raises UsageError if something else is there: MariTalk Local's own executable is 14 GB of download."""
    try:
        with target.open("rb") as there:
            ours = there.read(len(_FIRST_LINES)) == _FIRST_LINES.encode()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{target} cannot be read: {error.strerror}.", "Choose another --path.") from error
    if not ours:
        raise UsageError(f"{target} is there already, and is no launcher.", "Move it away, or choose another --path.")
