"""Entry points of the two console scripts, so that Ctrl-C during their imports prints no traceback."""

import importlib
import signal
from typing import NoReturn

from . import container_home, standard_streams


def serve() -> NoReturn:
    """`maritalk-serve`."""
    _run("serve")


def toolbox() -> NoReturn:
    """`maritalk-vllm`."""
    _run("tools_app")


def _run(module: str) -> NoReturn:
    standard_streams.open_missing()
    # Where SIGINT is ignored, as shells do for background jobs, it stays ignored.
    handles_sigint = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handles_sigint:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    container_home.use_mounted_home()
    main = importlib.import_module(f".{module}", __package__).main
    if handles_sigint:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
    raise SystemExit
