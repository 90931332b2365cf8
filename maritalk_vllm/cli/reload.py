"""`maritalk-vllm reload`: has this machine's server read its configuration again."""

import os
import signal

import typer

from ..errors import MariTalkError, UsageError
from ..http.port_owner import port_owner
from ..i18n.rendering import say
from ..settings import Settings
from .settings_options import with_settings

_SUPERVISOR = "maritalk-serve"
"""The name of the supervisor's process, as `ps` shows it."""


def reload(ctx: typer.Context, settings: Settings, **_: object) -> None:
    """Have a server read its files again. It is the one on this port of this machine; the files are its configuration,
    keys, certificate and model.

    The server applies them in the background: its log and /readyz have the result.
    """
    if settings.port == 0:
        raise UsageError(say("A server on any free port cannot be found."), say("Give its --port."))
    pid = _supervisor(settings.port)
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        text = say("The server, process {pid}, cannot be signalled: {reason}.", pid=pid, reason=error.strerror)
        raise MariTalkError(text) from error
    print(say("The server, process {pid}, reads its configuration again. Its log has the result.", pid=pid))


def _supervisor(port: int) -> int:
    """The pid of the server's main process: other processes of it listen on the port, too. Raises MariTalkError."""
    import psutil

    owner = port_owner(port)
    if owner is None:
        raise MariTalkError(
            say("No server of this user listens on port {port} of this machine.", port=port),
            say("Give its --port, and run this as the user who runs the server."),
        )
    try:
        process = psutil.Process(owner.pid)
        found = next(each for each in (process, *process.parents()) if each.name().strip() == _SUPERVISOR)
    except (psutil.Error, StopIteration):
        raise MariTalkError(
            say("Port {port} is in use by {name}, process {pid}.", port=port, name=owner.name, pid=owner.pid),
            say("It is no maritalk-serve."),
        ) from None
    return found.pid


command = with_settings(reload, shown=("port",), helps={"port": "Port of the server."})
