"""Downloads the weights in a child process while the supervisor serves the port.

The supervisor starts it as `python -m maritalk_vllm.server.process.download_process CHANNEL PARENT`, and sends it a
FetchRequest. A thread could not be stopped: the hub's library waits for its own threads, and a read from a silent
server takes half a minute. A fork would copy the supervisor's event loop, its listener and its connections.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import setproctitle

from ...engine.environment import environment_without_secrets
from ...errors import MariTalkError, WeightsError, from_message, to_message
from ...weights.fetch_request import FetchRequest
from . import process_tree
from .ipc_channel import Channel, Message
from .log_file import LogFile
from .process_exit import wait_for_exit

_PROGRESS_SECONDS = 0.25
"""Minimum interval between progress messages of the same step."""


async def download(fetch: FetchRequest, show: Callable[[str, float | None], None], log: LogFile) -> None:
    """Do `fetch` in a process of its own, which is killed if this is cancelled. Raises MariTalkError.

    `show` is called with the step and the fraction of it that is done, None if that is unknown.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = Channel.pair()
    messages: asyncio.Queue[Message | None] = asyncio.Queue()

    def read() -> None:
        if (message := ours.receive()) is None:
            loop.remove_reader(ours)
        messages.put_nowait(message)

    with contextlib.closing(ours):
        with contextlib.closing(theirs):
            process = _start(theirs, log)
        # Through the channel, since other processes can read arguments and environments.
        ours.send({"fetch": msgspec.to_builtins(fetch)})
        loop.add_reader(ours, read)
        try:
            while (message := await messages.get()) is not None:
                if message["event"] == "failed":
                    raise from_message(message)
                show(message["step"], message["fraction"])
            await wait_for_exit(process)
        finally:
            loop.remove_reader(ours)
            process.kill()
            exit_code = await wait_for_exit(process)
    if exit_code != 0:
        raise WeightsError(f"The download ended unexpectedly, with {exit_code}.", "Start again to go on.")


def _start(theirs: Channel, log: LogFile) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        # -P: a module in the working directory must not shadow one of ours.
        [
            sys.executable,
            "-P",
            "-m",
            "maritalk_vllm.server.process.download_process",
            str(theirs.fileno()),
            str(os.getpid()),
        ],
        pass_fds=(theirs.fileno(),),
        # Only the supervisor handles Ctrl-C in a terminal.
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=log.fileno(),
        stderr=log.fileno(),
        env=environment_without_secrets(),
    )


def main(channel: Channel) -> int:
    """Receive a request, do it, and report its progress or its failure. Return the exit code."""
    if (message := channel.receive()) is None:
        return 1
    fetch: FetchRequest = msgspec.convert(message["fetch"], FetchRequest)
    last_step, last_time = "", 0.0

    def report_progress(step: str, done: int, total: int | None) -> None:
        nonlocal last_step, last_time
        if step != last_step or time.monotonic() >= last_time + _PROGRESS_SECONDS:
            last_step, last_time = step, time.monotonic()
            channel.send({"event": "progress", "step": step, "fraction": done / total if total else None})

    try:
        fetch.run(report_progress)
    except MariTalkError as error:
        channel.send({"event": "failed", **to_message(error)})
        return error.exit_code
    return 0


if __name__ == "__main__":
    process_tree.set_parent_death_signal(int(sys.argv[2]))
    setproctitle.setproctitle("maritalk: fetch")
    sys.exit(main(Channel.inherited(int(sys.argv[1]))))
