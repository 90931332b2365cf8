"""The chat of `maritalk-serve --interactive`: `python -m maritalk_vllm.tools.chat DESCRIPTOR`, started by the server.

The descriptor is the read end of a pipe, which receives one line of JSON: `url`, `key` and `language`. The pipe stays
open while the server runs; when it closes, the chat exits and restores the terminal.
"""

import json
import os
import signal
import sys
import threading
from typing import TextIO

import setproctitle

from ...errors import MariTalkError
from ...i18n.language import Language, choose
from ...i18n.rendering import localized
from ..server_address import ServerAddress
from .chat_runner import run


def main(control_pipe: TextIO) -> int:
    """Chat until the input ends or the server exits. Returns the exit code."""
    config = json.loads(control_pipe.readline())
    choose(Language(config["language"]))
    threading.Thread(target=_exit_when_closed, args=(control_pipe,), daemon=True).start()
    try:
        # The peer is the parent server; its certificate is not for a loopback name.
        return 0 if run(ServerAddress(url=config["url"], key=config["key"], verify=False)) else 1
    except MariTalkError as error:
        print(localized(error.text), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _exit_when_closed(control_pipe: TextIO) -> None:
    control_pipe.read()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    setproctitle.setproctitle("maritalk: chat")
    for _stream in (sys.stdout, sys.stderr):
        _stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main(os.fdopen(int(sys.argv[1]), encoding="utf-8")))
