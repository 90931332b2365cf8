"""The engine process: launches the processes of vLLM's engine, and reports when one of them exits."""

import os
import signal
import sys
from types import FrameType

from ...engine import startup_errors, vllm_launcher
from ...engine.log_redaction import mask_secrets
from ...masking import secrets_of
from .process_messages import EngineExited, EngineLaunched, Loaded, Progress, ReportChannel, RunEngine

STOP_SECONDS = 3
"""Grace period for the engine's processes to exit: if killed, they leave their shared memory behind."""


def run_engine(job: RunEngine, channel: ReportChannel) -> None:
    """Load the model and run the engine until SIGTERM, or until one of its processes exits, which is reported.

    Raises EngineError if the engine does not start, and UsageError for a flag that vLLM does not know.
    """
    # A process that has the port open would keep it after the server's end.
    os.close(job.listener)
    os.environ.update(job.environment)
    args = vllm_launcher.parse(job.engine_args)
    launch = vllm_launcher.launch_engine(args, job.addresses, job.api_processes)
    mask_secrets(secrets_of(job.engine_args, os.environ))
    channel.send(Progress("Loading the model"))
    with startup_errors.explain_startup_errors(job.log), launch as engine:
        channel.send(EngineLaunched(engine.addresses))
    channel.send(Loaded())
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        how = engine.wait()
    finally:
        engine.shutdown(STOP_SECONDS)
    channel.send(EngineExited.of(how))
    sys.exit(1)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)
