"""`maritalk-serve`: the server. It takes no subcommand."""

import contextlib
import sys
import time
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..errors import MariTalkError
from ..i18n.rendering import localized, say
from ..settings import Settings
from . import container_home, lang_option, standard_streams
from .runner import HELP, run
from .settings_options import parameter, reload_settings, with_settings

if TYPE_CHECKING:
    from ..server.startup.launch import Launch

_RETRY_DELAYS = (1, 5, 10, 30, 60)
"""Seconds between attempts to reach the licence service."""

app = typer.Typer(rich_markup_mode=None, context_settings=HELP)


def serve(ctx: typer.Context, settings: Settings, **_: object) -> None:
    """Serve a MariTalk or open model with vLLM and the MariTalk Local API.

    Example: maritalk-serve --model qwen3-4b --port 9000
    """
    from ..engine.vllm_version import installed_vllm

    try:
        installed_vllm()  # first: the server's modules import packages that come with vLLM
        _serve(ctx, settings)
    except MariTalkError as error:
        _write_termination_message(error)
        raise


def _serve(ctx: typer.Context, settings: Settings) -> None:
    """Serve, or print the plan with --dry-run. Raises MariTalkError."""
    from ..planning.plan_report import report
    from ..server.cluster.cluster_config import check_head_address
    from ..server.process.sighup import HangupSignal
    from ..server.startup.console import Console
    from ..server.startup.port_wait import wait_for_stopping_server
    from ..server.startup.preflight import ports_in_use
    from ..server.supervisor import supervise

    hangup = HangupSignal()
    if warning := container_home.mounted_home_warning():
        standard_streams.note(warning)
    if not settings.dry_run:
        # Before the GPUs are looked at, whose memory that server still holds.
        wait_for_stopping_server(settings.host, settings.port, lambda text: standard_streams.note(localized(text)))
    launch = _resolve_launch(settings)
    if settings.dry_run:
        # A plan for this machine is often made while its server runs.
        for error in ports_in_use(settings):
            standard_streams.note(say("Warning: {warning}", warning=localized(error.text)))
        print("\n".join(report(launch.plan)))
        return
    if launch.group is not None:
        check_head_address(launch.group)
    try:
        supervise(
            launch,
            Console(),
            hangup=hangup,
            config=ctx.params["config"],
            reload_settings=partial(reload_settings, ctx),
        )
    finally:
        standard_streams.finish(sys.stdout)  # the reader of its first lines may have exited


def _resolve_launch(settings: Settings) -> "Launch":
    """Resolve the launch; under a service manager, retry until the licence service is reachable. Raises MariTalkError.

    A service manager gives up on a service that exits repeatedly, and the network may come up after the service.
    """
    from ..licensing.service_client import Unreachable
    from ..server.startup.launch import decide
    from ..server.status.sd_notify import SystemdNotifier

    manager, delays = SystemdNotifier(), chain(_RETRY_DELAYS, repeat(_RETRY_DELAYS[-1]))
    while True:
        try:
            return decide(settings)
        except Unreachable as error:
            if settings.dry_run or not manager.is_enabled:
                raise
            delay = next(delays)
            standard_streams.note(
                say("{error} Asked again in {seconds} s.", error=localized(error.message), seconds=delay)
            )
            manager.status(error.message)
            time.sleep(delay)


def _write_termination_message(error: MariTalkError) -> None:
    """Write the error to the file that Kubernetes shows after a container has terminated."""
    with contextlib.suppress(OSError):  # the error is printed as well
        if _TERMINATION_LOG.exists():
            _TERMINATION_LOG.write_text(f"{error}\n")


_TERMINATION_LOG = Path("/dev/termination-log")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"maritalk-serve {__version__}")
        raise typer.Exit


_VERSION = Annotated[
    bool, typer.Option("--version", "-V", help="Show the version and exit.", is_eager=True, callback=_show_version)
]

app.command()(with_settings(serve, parameter("lang", lang_option.OPTION, None), parameter("version", _VERSION, False)))


def main() -> None:
    """The console script."""
    run(app, "maritalk-serve")
