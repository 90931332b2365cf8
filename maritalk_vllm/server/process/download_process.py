"""Brings the weights here while the port answers already."""

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable

import setproctitle

from ...errors import MariTalkError, WeightsError, from_message, to_message
from ...weights.download_progress import Progress
from . import process_tree
from .ipc_channel import Channel, Message

_TELL_SECONDS = 0.25

_fork = multiprocessing.get_context("fork")


async def download(fetch: Callable[[Progress], None], show: Callable[[str, float | None], None]) -> None:
    """Fetch in a process of its own, which can be killed at any moment. Raises MariTalkError.

    `show` is told the step, and the fraction of it that is done, if that is known.

    A thread could not be stopped: the hub's library waits for its own, and a read from a silent server takes half a
    minute. Forked while nothing else runs here, the process has the licence without being told it.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = Channel.pair()
    process = _fork.Process(target=_work, args=(fetch, theirs, os.getpid()))
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


def _work(fetch: Callable[[Progress], None], channel: Channel, parent: int) -> None:
    process_tree.set_parent_death_signal(parent)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    setproctitle.setproctitle("maritalk: fetch")
    told = ("", 0.0)

    def tell(step: str, done: int, total: int | None) -> None:
        nonlocal told
        if step != told[0] or time.monotonic() >= told[1] + _TELL_SECONDS:
            told = (step, time.monotonic())
            channel.send({"event": "progress", "step": step, "fraction": done / total if total else None})

    try:
        fetch(tell)
    except MariTalkError as error:
        channel.send({"event": "failed", **to_message(error)})
        sys.exit(error.exit_code)
