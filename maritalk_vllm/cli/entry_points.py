"""Where the two console scripts begin: whoever stops one while it is still imported sees no traceback."""

import importlib
import signal
from typing import NoReturn

from . import container_home, standard_streams


def serve() -> NoReturn:
    """`maritalk-serve`."""
    _begin("serve")


def toolbox() -> NoReturn:
    """`maritalk-vllm`."""
    _begin("tools_app")


def _begin(module: str) -> NoReturn:
    standard_streams.open_missing()
    # Where Ctrl-C is ignored, as a shell has it for what runs in the background, it stays so.
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    container_home.use_mounted_home()
    main = importlib.import_module(f".{module}", __package__).main
    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
    raise SystemExit
