"""The process of a follower node: runs this node's workers of the engine, and no API."""

import os
import signal
from types import FrameType

from ...engine import startup_errors, vllm_launcher
from ...engine.log_redaction import mask_secrets
from ...errors import EngineError
from ...i18n.message import msg
from ...masking import secrets_of
from .process_messages import Loaded, Progress, Ready, ReportChannel, RunFollower


def run_follower(job: RunFollower, channel: ReportChannel) -> None:
    """Load this node's part of the model and run its workers until SIGTERM.

    Raises EngineError if the workers do not start or one dies, and UsageError for a flag that vLLM does not know.
    """
    # On a follower, the supervisor alone serves the port.
    os.close(job.listener)
    os.environ.update(job.environment)
    args = vllm_launcher.parse(job.engine_args)
    mask_secrets(secrets_of(job.engine_args, os.environ))
    channel.send(Progress("Loading the model"))
    signal.signal(signal.SIGTERM, _on_sigterm)
    with startup_errors.explain_startup_errors(job.log):
        workers = vllm_launcher.start_workers(args)
    channel.send(Loaded())
    channel.send(Ready())
    try:
        workers.wait()
    finally:
        workers.shutdown()
    raise EngineError("A worker of this node died.", msg("vLLM's log says why: {log}", log=job.log))


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
