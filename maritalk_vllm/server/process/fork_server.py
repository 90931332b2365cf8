"""The fork server: imports torch and vllm once, and forks a process for each job.

The supervisor starts it as `python -m maritalk_vllm.server.process.fork_server DEVICE CHANNEL PARENT`. It never
initialises CUDA and runs no thread of its own, so that forked processes start clean, and at once.
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
    """Import vLLM, then fork a process for each job that the supervisor sends, until it closes the channel."""
    # Only the supervisor reloads files. It started this process with SIGHUP blocked, which would have killed it before.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    channel.send({"event": "importing"})
    # Imported objects are never freed, and collections would take time. Pages that no collection writes to stay shared
    # with the forked processes.
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
    # The control channel of the next process arrives before its job.
    control_channel = -1
    while (message := channel.receive()) is not None:
        if message["job"] == "words":
            control_channel = message["descriptor"]
            continue
        # Double fork: the intermediate process exits at once, and the supervisor adopts its child, which serves on if
        # the fork server is killed.
        job = {**message, "words": control_channel}
        intermediate = _fork.Process(target=_fork_job, args=(job, channel, supervisor))
        intermediate.start()
        os.close(control_channel)
        intermediate.join()


def _fork_job(job: Message, channel: Channel, supervisor: int) -> None:
    """Runs in the intermediate process: fork the process for the job, and exit."""
    process_tree.reparent_next_fork(supervisor)
    _fork.Process(target=_run_job, args=(job, channel), name=job["job"]).start()
    os._exit(0)


def _run_job(job: Message, channel: Channel) -> None:
    """Runs in a child of the supervisor: do the job, and report a MariTalkError to the supervisor."""
    setproctitle.setproctitle(f"maritalk: {job['job']}")
    channel.send({"event": "started", "job": job["job"], "pid": os.getpid()})
    try:
        JOBS[job["job"]](job, channel)
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
