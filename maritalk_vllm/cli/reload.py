"""`maritalk-vllm reload`: makes this machine's server reload its files."""

import os
import signal
import time
from typing import Any

import typer

from ..errors import MariTalkError, UsageError
from ..http.listener import join_url, reachable_host
from ..http.port_owner import port_owner
from ..i18n.message import sentences
from ..i18n.rendering import localized, say
from ..settings import Settings
from .settings_options import with_settings

_SUPERVISOR = "maritalk-serve"
"""The name of the supervisor's process, as `ps` shows it."""

_ANSWER_SECONDS = 1.0
"""The probe takes milliseconds in every phase of the server."""

_RELOAD_SECONDS = 5.0
_POLL_SECONDS = 0.1


def reload(ctx: typer.Context, settings: Settings, **_: object) -> None:
    """Make a server reload its files. It is the one on this port of this machine; the files are its configuration,
    keys, certificate and model.

    Exit code 1: it could not use one of them, and goes on with what it read before. An engine that has to be replaced
    takes longer than this command: the log and /readyz have the result.
    """
    if settings.port == 0:
        raise UsageError(say("A server on any free port cannot be found."), say("Give its --port."))
    pid, before = _supervisor(settings.port), _report(settings)
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        text = say("The server, process {pid}, cannot be signalled: {reason}.", pid=pid, reason=error.strerror)
        raise MariTalkError(text) from error
    after = _report_of_reload(settings, before) if before is not None else None
    if after is None:
        print(say("The server, process {pid}, reads its configuration again. Its log has the result.", pid=pid))
    elif problems := after.get("not_applied"):
        text = say("The server, process {pid}, could not use all of its files.", pid=pid)
        raise MariTalkError(sentences(text, *map(localized, problems)), say("Its log has the reasons."))
    else:
        print(say("The server, process {pid}, has reloaded its files.", pid=pid))


def _report(settings: Settings) -> dict[str, Any] | None:
    """What /readyz answers; None if it cannot be reached, or is another program's."""
    import httpx

    # The server's options are in its own configuration: its port may speak either.
    for scheme in ("http", "https"):
        url = f"{join_url(scheme, reachable_host(settings.host), settings.port)}/readyz"
        try:
            report = httpx.get(url, timeout=_ANSWER_SECONDS, trust_env=False, verify=False).json()
        except httpx.TimeoutException:
            return None
        except (httpx.HTTPError, ValueError):
            continue
        return report if isinstance(report, dict) and "phase" in report else None
    return None


def _report_of_reload(settings: Settings, before: dict[str, Any]) -> dict[str, Any] | None:
    """What /readyz answers once the server has handled the signal; None if it does not within a few seconds."""
    end = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < end:
        report = _report(settings)
        if report is not None and report.get("reloads", 0) > before.get("reloads", 0):
            return report
        time.sleep(_POLL_SECONDS)
    return None


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
