"""The process that imports torch and vllm, once, and forks the others from itself.

Started by the supervisor as `python -m maritalk_vllm.server.process.fork_server DEVICE CHANNEL PARENT`. It never
touches CUDA and runs no thread of its own, so that what it forks starts clean, and at once.
"""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable

import setproctitle

from ...engine import vllm_launcher
from ...errors import EngineError, MariTalkError, to_message
from ...settings import Device
from . import api_process, process_tree
from .follower_process import run_follower
from .ipc_channel import Channel, Message
from .prepare_process import prepare

Job = Callable[[Message, Channel], None]
JOBS: dict[str, Job] = {"prepare": prepare, "serve": api_process.serve, "run": run_follower}

_fork = multiprocessing.get_context("fork")


def main(device: Device, channel: Channel, supervisor: int) -> None:
    """Import, then fork what the supervisor asks for, until the supervisor hangs up."""
    # The supervisor alone reads files again. It has blocked the signal, which would have killed this process before.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    channel.send({"event": "importing"})
    # Nothing that is imported goes away again, and looking for what does takes time. What no collection touches stays
    # shared with what is forked.
    gc.disable()
    try:
        vllm_launcher.preload(device)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        channel.send({"event": "failed", **to_message(EngineError(f"vLLM cannot be imported: {reason}"))})
        raise
    gc.freeze()
    gc.enable()
    channel.send({"event": "imported"})
    # Comes before each order: what the supervisor has to say to that process alone.
    words = -1
    while (order := channel.receive()) is not None:
        if order["job"] == "words":
            words = order["descriptor"]
            continue
        # In between is a process that ends at once, by which the other becomes the supervisor's child: it serves on if
        # this one is killed.
        between = _fork.Process(target=_leave, args=({**order, "words": words}, channel, supervisor))
        between.start()
        os.close(words)
        between.join()


def _leave(order: Message, channel: Channel, supervisor: int) -> None:
    """In a child: fork the process for the job, and end."""
    process_tree.leave_next_to(supervisor)
    _fork.Process(target=_run, args=(order, channel), name=order["job"]).start()
    os._exit(0)


def _run(order: Message, channel: Channel) -> None:
    """In a child of the supervisor: do the job, and tell the supervisor in a sentence if it fails."""
    setproctitle.setproctitle(f"maritalk: {order['job']}")
    channel.send({"event": "started", "job": order["job"], "pid": os.getpid()})
    try:
        JOBS[order["job"]](order, channel)
    except MariTalkError as error:
        channel.send({"event": "failed", **to_message(error)})
        sys.exit(error.exit_code)


def _arguments(arguments: list[str]) -> tuple[Device, Channel, int]:
    device, descriptor, parent = arguments
    return Device(device), Channel.inherited(int(descriptor)), int(parent)


if __name__ == "__main__":
    _device, _channel, _parent = _arguments(sys.argv[1:])
    process_tree.set_parent_death_signal(_parent)
    process_tree.inherit_on_fork()
    setproctitle.setproctitle("maritalk: nursery")
    main(_device, _channel, _parent)
