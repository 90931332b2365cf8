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
from ..language import say
from ..settings import Settings
from ..translation import translated
from . import container_home, lang_option, standard_streams
from .runner import HELP, run
from .settings_options import parameter, read_again, with_settings

if TYPE_CHECKING:
    from ..server.startup.launch import Launch

_PAUSES = (1, 5, 10, 30, 60)
"""Seconds until the licence service is asked again."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)


def serve(ctx: typer.Context, settings: Settings, **_: object) -> None:
    """Serve a MariTalk model on vLLM, with the MariTalk Local API."""
    from ..planning.plan_report import report
    from ..server.cluster.cluster_config import check_head_address
    from ..server.process.sighup import HangupSignal
    from ..server.startup.console import Console
    from ..server.startup.preflight import check_ports
    from ..server.supervisor import supervise

    hangup = HangupSignal()
    if told := container_home.mounted_home_warning():
        standard_streams.note(told)
    try:
        launch = _decided(settings)
        if settings.dry_run:
            check_ports(settings)
            print("\n".join(report(launch.plan)))
            return
        if launch.group is not None:
            check_head_address(launch.group)
        try:
            supervise(
                launch, Console(), hangup=hangup, config=ctx.params["config"], reload_settings=partial(read_again, ctx)
            )
        finally:
            standard_streams.finish(sys.stdout)  # a server may outlive what reads its first lines
    except MariTalkError as error:
        _leave_word(error)
        raise


def _decided(settings: Settings) -> "Launch":
    """The start; as a service, once the licence service can be asked. Raises MariTalkError.

    A service manager gives up what ends again and again, and the network may come later than the service.
    """
    from ..licensing.service_client import Unreachable
    from ..server.startup.launch import decide
    from ..server.status.sd_notify import SystemdNotifier

    manager, pauses = SystemdNotifier(), chain(_PAUSES, repeat(_PAUSES[-1]))
    while True:
        try:
            return decide(settings)
        except Unreachable as error:
            if settings.dry_run or not manager.is_enabled:
                raise
            pause = next(pauses)
            standard_streams.note(
                say("{error} Asked again in {seconds} s.", error=translated(error.message), seconds=pause)
            )
            manager.status(error.message)
            time.sleep(pause)


def _leave_word(error: MariTalkError) -> None:
    """Kubernetes shows what it finds there when a container has ended."""
    with contextlib.suppress(OSError):
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
