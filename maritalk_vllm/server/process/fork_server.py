"""The fork server: imports torch and vllm once, and forks a process for each job.

The supervisor starts it by `server/process/main_module.py`. It never initialises CUDA and runs no thread of its own, so
that forked processes start clean, and at once.
"""

import gc
import multiprocessing
import os
import signal
import sys
from typing import assert_never

import setproctitle

from ...engine import vllm_launcher
from ...engine.known_failures import explain
from ...errors import MariTalkError
from ...i18n.message import msg
from ...settings import Device
from ..messaging.base_message import MessageError
from ..messaging.error_report import ErrorReport
from . import api_process, process_tree
from .engine_process import run_engine
from .follower_process import run_follower
from .ipc_channel import Channel
from .prepare_process import prepare
from .process_messages import (
    JOBS,
    TO_SUPERVISOR,
    Failed,
    Imported,
    Importing,
    Job,
    Prepare,
    ReportChannel,
    RunEngine,
    RunFollower,
    Serve,
    Started,
)

_fork = multiprocessing.get_context("fork")


def main(device: Device, channel: ReportChannel, supervisor: int) -> None:
    """Import vLLM, then fork a process for each job that the supervisor sends, until it closes the channel.

    Exits with an error, which it reports, if a message of the supervisor cannot be read.
    """
    # Only the supervisor reloads files. It started this process with SIGHUP blocked, which would have killed it before.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    channel.send(Importing())
    # Imported objects are never freed, and collections would take time. Pages that no collection writes to stay shared
    # with the forked processes.
    gc.disable()
    try:
        vllm_launcher.preload(device)
    except Exception as error:
        found = explain(f"{type(error).__name__}: {error}")
        report = found.error(msg("vLLM cannot be imported: {reason}", reason=found.cause), found.hint)
        channel.send(Failed(ErrorReport.of(report)))
        raise
    gc.freeze()
    gc.enable()
    channel.send(Imported())
    try:
        while (job := channel.receive()) is not None:
            # Double fork: the intermediate process exits at once, and the supervisor adopts its child, which serves on
            # if the fork server is killed.
            intermediate = _fork.Process(target=_fork_job, args=(job, channel, supervisor))
            intermediate.start()
            if isinstance(job, Serve):
                job.control_channel.close()
                if job.shared_memory is not None:
                    job.shared_memory.close()
            intermediate.join()
    except MessageError as error:
        channel.send(Failed(ErrorReport.of(error)))
        sys.exit(error.exit_code)


def _fork_job(job: Job, channel: ReportChannel, supervisor: int) -> None:
    """Runs in the intermediate process: fork the process for the job, and exit."""
    process_tree.reparent_next_fork(supervisor)
    _fork.Process(target=_run_job, args=(job, channel), name=job.name).start()
    os._exit(0)


def _run_job(job: Job, channel: ReportChannel) -> None:
    """Runs in a child of the supervisor: do the job, and report a MariTalkError to the supervisor."""
    setproctitle.setproctitle(f"maritalk: {job.name}")
    channel.send(Started(job.name, os.getpid(), job.index if isinstance(job, Serve) else 0))
    try:
        match job:
            case Prepare():
                prepare(job, channel)
            case RunEngine():
                run_engine(job, channel)
            case Serve():
                api_process.serve(job, channel)
            case RunFollower():
                run_follower(job, channel)
            case _:
                assert_never(job)
    except MariTalkError as error:
        channel.send(Failed(ErrorReport.of(error)))
        sys.exit(error.exit_code)


def start(arguments: list[str]) -> None:
    """Be the fork server: `arguments` are the device, the descriptor of a channel to the supervisor, and its pid."""
    device, descriptor, supervisor = arguments
    process_tree.set_parent_death_signal(int(supervisor))
    process_tree.inherit_on_fork()
    setproctitle.setproctitle("maritalk: nursery")
    main(Device(device), Channel.from_descriptor(int(descriptor), JOBS, TO_SUPERVISOR), int(supervisor))
