"""A server's answers to the golden questions, by each of its APIs."""

from typing import Any

from tests.clients import golden
from tests.serving import Port

GREEDY = {"do_sample": False, "max_tokens": golden.MAX_TOKENS}


def maritalk_texts(server: Port) -> list[str]:
    """The answers of MariTalk Local's routes."""
    requests: list[tuple[str, dict[str, Any]]] = [("/generate", {"prompt": text}) for text in golden.TEXTS]
    requests.append(("/chat/generate", {"messages": golden.CHAT}))
    return [server.ask(path, {**body, **GREEDY}).json["output"] for path, body in requests]


def cloud_texts(server: Port) -> list[str]:
    """The answers of the legacy cloud API."""
    bodies: list[dict[str, Any]] = [{"messages": text, "chat_mode": False} for text in golden.TEXTS]
    bodies.append({"messages": golden.CHAT})
    return [server.ask("/api/chat/inference", {**body, **GREEDY}).json["answer"] for body in bodies]


def openai_texts(server: Port) -> list[str]:
    """The answers of vLLM's own routes."""
    greedy = {"model": "demo", "temperature": 0, "max_tokens": golden.MAX_TOKENS}
    answers = [server.ask("/v1/completions", {"prompt": text, **greedy}).json for text in golden.TEXTS]
    chat = server.ask("/v1/chat/completions", {"messages": golden.CHAT, **greedy}).json
    return [answer["choices"][0]["text"] for answer in answers] + [chat["choices"][0]["message"]["content"]]
