"""The process that imports torch and vllm, once, and forks the others from itself.

Started by the supervisor as `python -m maritalk_vllm.server.nursery DEVICE CHANNEL PARENT`. It never touches CUDA and
runs no thread of its own, so that what it forks starts clean, and at once.
"""

import gc
import multiprocessing
import multiprocessing.connection
import signal
import sys
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from typing import Any

import setproctitle

from ..engine import boot
from ..errors import EngineError, MariTalkError, to_message
from ..settings import Device
from . import backend, lifeline
from .channel import Channel, Message
from .part import run_part
from .preparation import prepare

Job = Callable[[Message, Channel], None]
JOBS: dict[str, Job] = {"prepare": prepare, "serve": backend.serve, "run": run_part}

_fork = multiprocessing.get_context("fork")


def main(device: Device, channel: Channel) -> None:
    """Import, then fork what the supervisor asks for and report how each ends, until the supervisor hangs up."""
    # What is to be read again, the supervisor reads.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    channel.send({"event": "importing"})
    # Nothing that is imported goes away again, and looking for what does takes time. What no collection touches stays
    # shared with what is forked.
    gc.disable()
    try:
        boot.preload(device)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        channel.send({"event": "failed", **to_message(EngineError(f"vLLM cannot be imported: {reason}"))})
        raise
    gc.freeze()
    gc.enable()
    channel.send({"event": "imported"})
    children: dict[Any, ForkProcess] = {}  # by what becomes readable when the process ends
    # What the supervisor has to say to the process that serves, whose own end of the other channel is for its reports.
    words: Channel | None = None
    while True:
        for ready in multiprocessing.connection.wait([channel.fileno(), *children]):
            if ready != channel.fileno():
                child = children.pop(ready)
                child.join()
                channel.send({"event": "ended", "job": child.name, "exit_code": child.exitcode})
            elif (order := channel.receive()) is None:
                return
            elif order["job"] == "tell":
                if words is not None:
                    words.send(order["word"])
            else:
                if words is not None:
                    words.close()
                words, theirs = Channel.pair()
                order["words"] = theirs.fileno()
                child = _fork.Process(target=_run, args=(order, channel), name=order["job"])
                child.start()
                theirs.close()
                children[child.sentinel] = child
                channel.send({"event": "started", "job": child.name, "pid": child.pid})


def _run(order: Message, channel: Channel) -> None:
    """In a child: do the job, and tell the supervisor in a sentence if it fails."""
    setproctitle.setproctitle(f"maritalk: {order['job']}")
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
    lifeline.die_with(_parent)
    lifeline.tie_descendants()
    setproctitle.setproctitle("maritalk: nursery")
    main(_device, _channel)
