"""A fake server with MariTalk Local's API, which echoes the question and can be made to fail."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.answering import Answering, Request, answering

END = {"queue_time": 0, "prompt_time": 38, "generation_time": 500}


def event(content: object, kind: str = "") -> bytes:
    return (f"event: {kind}\n" if kind else "").encode() + b"data: " + json.dumps(content).encode() + b"\n\n"


@dataclass
class FakeServer:
    """Echoes the last message, word by word. A word is a token; `context` is the limit, including max_tokens."""

    status: str = "idle"
    demo: str | None = None
    """The notice of the demo model."""
    model_name: str = "small"
    context: int = 10_000
    resume: threading.Event = field(default_factory=threading.Event)
    """The answer to a question with the word "wait" pauses after that word until this is set."""
    requests_received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    tokenize_calls: int = 0
    disconnected: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> None:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if request.command == "GET":
            known = {"/chat/server.json": {"demo": self.demo}, "/v1/models": {"data": [{"id": self.model_name}]}}
            reply(request, 200, known.get(request.path, {"status": self.status}))
            return
        body = json.loads(request.content)
        tokens = sum(len(message["content"].split()) for message in body["messages"])
        if request.path == "/tokenize":
            self.tokenize_calls += 1
            reply(request, 200, {"count": tokens, "max_model_len": self.context, "tokens": []})
            return
        self.requests_received.append(body)
        if tokens + body["max_tokens"] > self.context:
            reply(request, 400, {"error": f"The prompt has {tokens} tokens."})
            return
        self.answer(request, body["messages"][-1]["content"])

    def answer(self, request: Request, question: str) -> None:
        request.begin(200, content_type="text/event-stream; charset=utf-8", connection="close")
        words = question.split()
        for number, word in enumerate(words):
            write(request, event({"text": word if number == 0 else f" {word}"}))
            if word == "wait":
                self._wait(request)
            if word == "die":
                self.status = "loading"
                threading.Timer(1, self._recover).start()
                write(request, event({"error": "The engine has died, and is started again."}, "error"))
                return
        usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
        reason = "length" if "cut" in words else "stop"
        write(request, event({"output": " ".join(words), **END, "usage": usage, "finish_reason": reason}, "end"))

    def _wait(self, request: Request) -> None:
        while not self.resume.wait(0.02):
            try:
                write(request, b": keep-alive\n\n")
            except OSError:
                self.disconnected.set()
                raise

    def _recover(self) -> None:
        self.status = "idle"


def reply(request: Request, status: int, content: object) -> None:
    request.reply(status, json.dumps(content).encode(), content_type="application/json")


def write(request: Request, data: bytes) -> None:
    request.wfile.write(data)
    request.wfile.flush()


@contextmanager
def fake_server(**options: Any) -> Iterator[tuple[FakeServer, Answering]]:
    model = FakeServer(**options)
    with answering(model) as server:
        try:
            yield model, server
        finally:
            model.resume.set()
