"""The same request in each API that a server may speak, and how its answer is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spent:
    """What an answer says that it took: tokens, and seconds where it tells them."""

    prompt_tokens: int
    completion_tokens: int
    queue_time: float | None = None
    prompt_time: float | None = None
    generation_time: float | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """One way to ask. `body` makes the request's body of a prompt and max_tokens.

    `spent` reads the answer, or the events of a stream that have figures (None: this one has none). `has_text` says
    whether an event of a stream brings text.
    """

    name: str
    path: str
    streamed: bool
    body: Callable[[str, int], Body]
    spent: Callable[[Body], Spent | None]
    has_text: Callable[[Body], bool] = lambda _: False


def _messages(prompt: str) -> list[Body]:
    return [{"role": "user", "content": prompt}]


def _local(prompt: str, max_tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": max_tokens, "do_sample": False, "return_usage": True}


def _local_chat(prompt: str, max_tokens: int) -> Body:
    return {"messages": _messages(prompt), "max_tokens": max_tokens, "do_sample": False, "return_usage": True}


def _cloud(prompt: str, max_tokens: int) -> Body:
    return {
        "messages": _messages(prompt),
        "max_tokens": max_tokens,
        "do_sample": False,
        "stream": True,
        "num_tokens_per_message": 4,
    }


def _openai_chat(prompt: str, max_tokens: int) -> Body:
    return {"messages": _messages(prompt), "max_tokens": max_tokens, "temperature": 0}


def _openai_text(prompt: str, max_tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0}


def _streamed(body: Callable[[str, int], Body], **more: Any) -> Callable[[str, int], Body]:  # noqa: ANN401
    return lambda prompt, max_tokens: {**body(prompt, max_tokens), "stream": True, **more}


def _local_spent(answer: Body) -> Spent | None:
    usage = answer.get("usage")
    if usage is None:
        return None
    # Whole milliseconds or float seconds: a server has one of the two (its --time-unit).
    times = [
        value / 1000 if isinstance(value, int) else value
        for value in (answer["queue_time"], answer["prompt_time"], answer["generation_time"])
    ]
    return Spent(usage["prompt_tokens"], usage["completion_tokens"], *times)


def _flat_spent(answer: Body) -> Spent | None:
    if "completion_tokens" not in answer:
        return None
    return Spent(answer["prompt_tokens"], answer["completion_tokens"])


def _usage_spent(answer: Body) -> Spent | None:
    return _flat_spent(answer.get("usage") or {})


def _is_text(event: Body) -> bool:
    return bool(event.get("text"))


def _openai_has_text(event: Body) -> bool:
    return any((choice.get("delta") or {}).get("content") or choice.get("text") for choice in event["choices"])


_STREAM_USAGE = {"stream_options": {"include_usage": True}}

WIRES = {
    wire.name: wire
    for wire in (
        Wire("generate", "/generate", False, _local, _local_spent),
        Wire("generate-stream", "/generate", True, _streamed(_local), _local_spent, _is_text),
        Wire("chat-generate", "/chat/generate", False, _local_chat, _local_spent),
        Wire("cloud-stream", "/api/chat/inference", True, _cloud, _flat_spent, _is_text),
        Wire("openai-text", "/v1/completions", False, _openai_text, _usage_spent),
        Wire("openai-chat", "/v1/chat/completions", False, _openai_chat, _usage_spent),
        Wire(
            "openai-chat-stream",
            "/v1/chat/completions",
            True,
            _streamed(_openai_chat, **_STREAM_USAGE),
            _usage_spent,
            _openai_has_text,
        ),
    )
}
"""By name."""
