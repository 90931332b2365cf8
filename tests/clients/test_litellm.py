"""The published litellm, with both of its providers for such a server."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGES, TOO_MANY
from tests.serving import Server

pytestmark = pytest.mark.clients

MODELS = ["openai/sabia-3", "maritalk/sabia-3"]
"""The first is for any OpenAI-compatible server, the second for Maritaca."""


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> dict[str, Any]:
    base_url = f"http://127.0.0.1:{shared_server.port}/api"
    inputs = {"base_url": base_url, "models": MODELS, "messages": MESSAGES, "too many": TOO_MANY}
    return run("litellm-1.106.2", "litellm_completion", inputs)


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, Any]:
    """The server's answers to the same requests, without a client."""
    body = {"model": "demo", "messages": MESSAGES, "temperature": 0, "max_tokens": 12}
    return shared_server.ask("/v1/chat/completions", body).json


@pytest.mark.parametrize("how", ["plain", "async", "stream"])
@pytest.mark.parametrize("model", MODELS)
def test_each_provider_returns_the_answer(
    reported: dict[str, Any], plain: dict[str, Any], model: str, how: str
) -> None:
    pieces = reported[f"{model}, {how}"]
    assert "".join(piece or "" for piece in pieces) == plain["choices"][0]["message"]["content"]
    assert len(pieces) > 1


@pytest.mark.parametrize("model", MODELS)
def test_usage_is_reported(reported: dict[str, Any], plain: dict[str, Any], model: str) -> None:
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert reported[f"{model}, usage"][name] == plain["usage"][name]


@pytest.mark.parametrize("model", MODELS)
def test_too_many_tokens_raise_an_error(reported: dict[str, Any], model: str) -> None:
    error = reported[f"{model}, too many tokens"]
    assert error["raised"] == "BadRequestError"
    assert str(TOO_MANY) in error["text"]
    assert "8192" in error["text"]
