"""The process of another node than node 0 that runs this node's part of the engine: its workers, and no API."""

import os
import signal
from pathlib import Path
from types import FrameType

from ...engine import startup_errors, vllm_launcher
from ...engine.log_redaction import mask_secrets
from ...errors import EngineError
from ...masking import secrets_of
from .ipc_channel import Channel, Message


def run_follower(order: Message, channel: Channel) -> None:
    """Load this node's part and compute until SIGTERM.

    `order`: engine_args, environment, socket and words (descriptors), log (a file). Raises EngineError if the part does
    not start or a worker dies, and UsageError for a flag that vLLM does not know.
    """
    # The supervisor answers at it for as long as this node is one.
    os.close(order["socket"])
    os.close(order["words"])
    os.environ.update(order["environment"])
    args = vllm_launcher.parse(order["engine_args"])
    mask_secrets(secrets_of(order["engine_args"], os.environ))
    channel.send({"event": "progress", "step": "Loading the model"})
    signal.signal(signal.SIGTERM, _leave)
    log = Path(order["log"])
    with startup_errors.explain_startup_errors(log):
        part = vllm_launcher.start_workers(args)
    channel.send({"event": "loaded"})
    channel.send({"event": "ready"})
    try:
        part.wait()
    finally:
        part.shutdown()
    raise EngineError("A worker of this node died.", f"vLLM's log says why: {log}")


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
