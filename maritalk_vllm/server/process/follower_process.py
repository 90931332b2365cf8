"""The process of a follower node: runs this node's workers of the engine, and no API."""

import os
import signal
from pathlib import Path
from types import FrameType

from ...engine import startup_errors, vllm_launcher
from ...engine.log_redaction import mask_secrets
from ...errors import EngineError
from ...masking import secrets_of
from .ipc_channel import Channel, Message


def run_follower(job: Message, channel: Channel) -> None:
    """Load this node's part of the model and run its workers until SIGTERM.

    `job`: engine_args, environment, socket and words (the descriptors of the listener and of the control channel), log
    (a path). Raises EngineError if the workers do not start or one dies, and UsageError for a flag that vLLM does not
    know.
    """
    # On a follower, the supervisor alone serves the port.
    os.close(job["socket"])
    os.close(job["words"])
    os.environ.update(job["environment"])
    args = vllm_launcher.parse(job["engine_args"])
    mask_secrets(secrets_of(job["engine_args"], os.environ))
    channel.send({"event": "progress", "step": "Loading the model"})
    signal.signal(signal.SIGTERM, _on_sigterm)
    log = Path(job["log"])
    with startup_errors.explain_startup_errors(log):
        workers = vllm_launcher.start_workers(args)
    channel.send({"event": "loaded"})
    channel.send({"event": "ready"})
    try:
        workers.wait()
    finally:
        workers.shutdown()
    raise EngineError("A worker of this node died.", f"vLLM's log says why: {log}")


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
