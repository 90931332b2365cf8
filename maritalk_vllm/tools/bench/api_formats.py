"""The same request in each API that a server may offer, and how to read the response."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of a response, and its times in seconds where the API reports them."""

    prompt_tokens: int
    completion_tokens: int
    queue_time: float | None = None
    prompt_time: float | None = None
    generation_time: float | None = None


@dataclass(frozen=True, slots=True)
class ApiFormat:
    """One route and request form. `body` builds the request body from a prompt and max_tokens.

    `usage` reads a response or a stream event; it returns None for an event without usage. `is_text_event` tells
    whether a stream event carries text.
    """

    name: str
    path: str
    streamed: bool
    body: Callable[[str, int], Body]
    usage: Callable[[Body], Usage | None]
    is_text_event: Callable[[Body], bool] = lambda _: False

    @property
    def has_service_tier(self) -> bool:
        """Whether requests may name a service tier: a field of OpenAI's API, which Maritaca's has as well."""
        return self.path.startswith("/v1/")


def _messages(prompt: str) -> list[Body]:
    return [{"role": "user", "content": prompt}]


def _local_body(prompt: str, max_tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": max_tokens, "do_sample": False, "return_usage": True}


def _local_chat_body(prompt: str, max_tokens: int) -> Body:
    return {"messages": _messages(prompt), "max_tokens": max_tokens, "do_sample": False, "return_usage": True}


def _cloud_body(prompt: str, max_tokens: int) -> Body:
    return {
        "messages": _messages(prompt),
        "max_tokens": max_tokens,
        "do_sample": False,
        "stream": True,
        "num_tokens_per_message": 4,
    }


def _openai_chat_body(prompt: str, max_tokens: int) -> Body:
    return {"messages": _messages(prompt), "max_tokens": max_tokens, "temperature": 0}


def _openai_text_body(prompt: str, max_tokens: int) -> Body:
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0}


def _streaming(body: Callable[[str, int], Body], **more: Any) -> Callable[[str, int], Body]:  # noqa: ANN401
    return lambda prompt, max_tokens: {**body(prompt, max_tokens), "stream": True, **more}


def _local_usage(response: Body) -> Usage | None:
    usage = response.get("usage")
    if usage is None:
        return None
    # Integers are milliseconds, floats are seconds: --time-unit of the server sets which.
    times = [
        value / 1000 if isinstance(value, int) else value
        for value in (response["queue_time"], response["prompt_time"], response["generation_time"])
    ]
    return Usage(usage["prompt_tokens"], usage["completion_tokens"], *times)


def _top_level_usage(response: Body) -> Usage | None:
    if "completion_tokens" not in response:
        return None
    return Usage(response["prompt_tokens"], response["completion_tokens"])


def _nested_usage(response: Body) -> Usage | None:
    return _top_level_usage(response.get("usage") or {})


def _has_text(event: Body) -> bool:
    return bool(event.get("text"))


def _openai_has_text(event: Body) -> bool:
    return any((choice.get("delta") or {}).get("content") or choice.get("text") for choice in event["choices"])


_STREAM_USAGE = {"stream_options": {"include_usage": True}}

API_FORMATS = {
    api_format.name: api_format
    for api_format in (
        ApiFormat("generate", "/generate", False, _local_body, _local_usage),
        ApiFormat("generate-stream", "/generate", True, _streaming(_local_body), _local_usage, _has_text),
        ApiFormat("chat-generate", "/chat/generate", False, _local_chat_body, _local_usage),
        ApiFormat("cloud-stream", "/api/chat/inference", True, _cloud_body, _top_level_usage, _has_text),
        ApiFormat("openai-text", "/v1/completions", False, _openai_text_body, _nested_usage),
        ApiFormat("openai-chat", "/v1/chat/completions", False, _openai_chat_body, _nested_usage),
        ApiFormat(
            "openai-chat-stream",
            "/v1/chat/completions",
            True,
            _streaming(_openai_chat_body, **_STREAM_USAGE),
            _nested_usage,
            _openai_has_text,
        ),
    )
}
"""Each format by the name that `--wire` takes."""
