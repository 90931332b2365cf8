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

import setproctitle

from ...engine.environment import environment_without_secrets
from ...errors import MariTalkError, WeightsError
from ...i18n.message import msg
from ...weights.fetch_request import FetchRequest
from ..messaging.error_report import ErrorReport
from . import process_tree
from .ipc_channel import Channel
from .log_file import LogFile
from .process_exit import wait_for_exit
from .process_messages import DOWNLOAD_REPORTS, DOWNLOADS, Download, DownloadReport, Failed, Progress

_PROGRESS_SECONDS = 0.25
"""Minimum interval between progress messages of the same step."""


async def download(fetch: FetchRequest, show: Callable[[str, float | None], None], log: LogFile) -> None:
    """Do `fetch` in a process of its own, which is killed if this is cancelled. Raises MariTalkError.

    `show` is called with the step and the fraction of it that is done, None if that is unknown.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = Channel.pair(DOWNLOAD_REPORTS, DOWNLOADS)
    readable = asyncio.Event()

    with contextlib.closing(ours):
        with contextlib.closing(theirs):
            process = _start(theirs, log)
        # Through the channel, since other processes can read arguments and environments.
        ours.send(Download(fetch))
        loop.add_reader(ours, readable.set)
        try:
            while (message := await _next(ours, readable)) is not None:
                if isinstance(message, Failed):
                    raise message.error.to_error()
                show(message.text, message.fraction)
            await wait_for_exit(process)
        finally:
            loop.remove_reader(ours)
            process.kill()
            exit_code = await wait_for_exit(process)
    if exit_code != 0:
        raise WeightsError(
            msg("The download ended unexpectedly, with {exitcode}.", exitcode=exit_code), "Start again to resume it."
        )


async def _next(channel: "Channel[DownloadReport, Download]", readable: asyncio.Event) -> DownloadReport | None:
    """The next message, or None when the download has ended. Raises MessageError."""
    while not channel.has_message:
        readable.clear()
        await readable.wait()
    return channel.receive()


def _start(theirs: "Channel[Download, DownloadReport]", log: LogFile) -> "subprocess.Popen[bytes]":
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


def main(channel: "Channel[Download, DownloadReport]") -> int:
    """Receive a request, do it, and report its progress or its failure. Return the exit code."""
    if (message := channel.receive()) is None:
        return 1
    last_step, last_time = "", 0.0

    def report_progress(step: str, done: int, total: int | None) -> None:
        nonlocal last_step, last_time
        if step != last_step or time.monotonic() >= last_time + _PROGRESS_SECONDS:
            last_step, last_time = step, time.monotonic()
            channel.send(Progress.of(step, done / total if total else None))

    try:
        message.fetch.run(report_progress)
    except MariTalkError as error:
        channel.send(Failed(ErrorReport.of(error)))
        return error.exit_code
    return 0


if __name__ == "__main__":
    process_tree.set_parent_death_signal(int(sys.argv[2]))
    setproctitle.setproctitle("maritalk: fetch")
    sys.exit(main(Channel.from_descriptor(int(sys.argv[1]), DOWNLOADS, DOWNLOAD_REPORTS)))
