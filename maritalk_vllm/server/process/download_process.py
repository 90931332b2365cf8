"""Downloads the weights in a child process while the supervisor serves the port."""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable

import setproctitle

from ...errors import MariTalkError, WeightsError, from_message, to_message
from ...stop_signals import STOP_SIGNALS
from ...weights.download_progress import Progress
from . import process_tree
from .ipc_channel import Channel, Message

_PROGRESS_SECONDS = 0.25
"""Minimum interval between progress messages of the same step."""

_fork = multiprocessing.get_context("fork")


async def download(fetch: Callable[[Progress], None], show: Callable[[str, float | None], None]) -> None:
    """Run `fetch` in a forked process, which can be killed at any moment. Raises MariTalkError.

    `show` is called with the step and the fraction of it that is done, None if that is unknown.

    A thread could not be stopped: the hub's library waits for its own threads, and a read from a silent server takes
    half a minute. The process is forked while this one runs no other thread, and inherits the licence in memory.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = Channel.pair()
    process = _fork.Process(target=_download, args=(fetch, theirs, os.getpid()))
    process.start()
    theirs.close()
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    loop.add_reader(ours, lambda: messages.put_nowait(ours.receive()))
    try:
        while (message := await messages.get()) is not None:
            if message["event"] == "failed":
                raise from_message(message)
            show(message["step"], message["fraction"])
    finally:
        loop.remove_reader(ours)
        ours.close()
    process.join()
    if process.exitcode != 0:
        raise WeightsError(f"The download ended unexpectedly, with {process.exitcode}.", "Start again to go on.")


def _download(fetch: Callable[[Progress], None], channel: Channel, parent: int) -> None:
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
            channel.send({"event": "progress", "step": step, "fraction": done / total if total else None})

    try:
        fetch(report_progress)
    except MariTalkError as error:
        channel.send({"event": "failed", **to_message(error)})
        sys.exit(error.exit_code)
