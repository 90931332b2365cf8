"""The chat of `maritalk-serve --interactive`: `python -m maritalk_vllm.tools.chat DESCRIPTOR`, started by the server.

The descriptor is a pipe's. A line of JSON comes through it: `url`, `key` and `language`. As long as it stays open the
server is there; when it closes the chat ends, with the terminal as it was.
"""

import json
import os
import signal
import sys
import threading
from typing import TextIO

import setproctitle

from ...errors import MariTalkError
from ...language import Language, choose
from ...translation import translated
from .chat_runner import run
from .server_address import ServerAddress


def main(server: TextIO) -> int:
    """Chat until the end of the input, or of the server. Returns the exit code."""
    order = json.loads(server.readline())
    choose(Language(order["language"]))
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    try:
        # The server itself, whose certificate is made out to another name than the loopback's.
        return 0 if run(ServerAddress(url=order["url"], key=order["key"], verified=False)) else 1
    except MariTalkError as error:
        print(translated(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _end_with(server: TextIO) -> None:
    server.read()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


if __name__ == "__main__":
    setproctitle.setproctitle("maritalk: chat")
    for _stream in (sys.stdout, sys.stderr):
        _stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main(os.fdopen(int(sys.argv[1]), encoding="utf-8")))
