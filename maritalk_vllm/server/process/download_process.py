"""Downloads the weights in a child process while the supervisor serves the port."""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Never

import setproctitle

from ...errors import MariTalkError, WeightsError
from ...stop_signals import STOP_SIGNALS
from ...weights.download_progress import Progress as ReportProgress
from ..messaging.error_report import ErrorReport
from . import process_tree
from .ipc_channel import Channel
from .process_messages import DOWNLOAD_REPORTS, DownloadReport, Failed, Progress

_PROGRESS_SECONDS = 0.25
"""Minimum interval between progress messages of the same step."""

_fork = multiprocessing.get_context("fork")


async def download(fetch: Callable[[ReportProgress], None], show: Callable[[str, float | None], None]) -> None:
    """Run `fetch` in a forked process, which can be killed at any moment. Raises MariTalkError.

    `show` is called with the step and the fraction of it that is done, None if that is unknown.

    A thread could not be stopped: the hub's library waits for its own threads, and a read from a silent server takes
    half a minute. The process is forked while this one runs no other thread, and inherits the licence in memory.
    """
    loop = asyncio.get_running_loop()
    ours: Channel[DownloadReport, Never]
    ours, theirs = Channel.pair(DOWNLOAD_REPORTS, None)
    process = _fork.Process(target=_download, args=(fetch, theirs, os.getpid()))
    process.start()
    theirs.close()
    readable = asyncio.Event()
    loop.add_reader(ours, readable.set)
    try:
        while (message := await _next(ours, readable)) is not None:
            if isinstance(message, Failed):
                raise message.error.to_error()
            show(message.step, message.fraction)
    finally:
        loop.remove_reader(ours)
        ours.close()
    process.join()
    if process.exitcode != 0:
        raise WeightsError(f"The download ended unexpectedly, with {process.exitcode}.", "Start again to go on.")


async def _next(channel: Channel[DownloadReport, Never], readable: asyncio.Event) -> DownloadReport | None:
    """The next message, or None when the download has ended. Raises MessageError."""
    while not channel.has_message:
        readable.clear()
        await readable.wait()
    return channel.receive()


def _download(fetch: Callable[[ReportProgress], None], channel: Channel[Never, DownloadReport], parent: int) -> None:
    process_tree.set_parent_death_signal(parent)
    signal.set_wakeup_fd(-1)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    setproctitle.setproctitle("maritalk: fetch")
    last_step, last_time = "", 0.0

    def report_progress(step: str, done: int, total: int | None) -> None:
        nonlocal last_step, last_time
        if step != last_step or time.monotonic() >= last_time + _PROGRESS_SECONDS:
            last_step, last_time = step, time.monotonic()
            channel.send(Progress(step, done / total if total else None))

    try:
        fetch(report_progress)
    except MariTalkError as error:
        channel.send(Failed(ErrorReport.of(error)))
        sys.exit(error.exit_code)
