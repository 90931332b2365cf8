"""The published litellm, by both of its ways to a server like this."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGES, TOO_MANY
from tests.serving import Server

pytestmark = pytest.mark.clients

MODELS = ["openai/sabia-3", "maritalk/sabia-3"]
"""By the first it takes any server that speaks OpenAI's API, by the second Maritaca's."""


@pytest.fixture(scope="module")
def told(shared_server: Server) -> dict[str, Any]:
    base_url = f"http://127.0.0.1:{shared_server.port}/api"
    asked = {"base_url": base_url, "models": MODELS, "messages": MESSAGES, "too many": TOO_MANY}
    return run("litellm-1.106.2", "litellm_completion", asked)


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, Any]:
    """What the server answers to the same, without a client."""
    body = {"model": "demo", "messages": MESSAGES, "temperature": 0, "max_tokens": 12}
    return shared_server.ask("/v1/chat/completions", body).json


@pytest.mark.parametrize("how", ["plain", "async", "stream"])
@pytest.mark.parametrize("model", MODELS)
def test_answers(told: dict[str, Any], plain: dict[str, Any], model: str, how: str) -> None:
    pieces = told[f"{model}, {how}"]
    assert "".join(piece or "" for piece in pieces) == plain["choices"][0]["message"]["content"]
    assert len(pieces) > 1


@pytest.mark.parametrize("model", MODELS)
def test_usage(told: dict[str, Any], plain: dict[str, Any], model: str) -> None:
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert told[f"{model}, usage"][name] == plain["usage"][name]


@pytest.mark.parametrize("model", MODELS)
def test_too_many_tokens(told: dict[str, Any], model: str) -> None:
    error = told[f"{model}, too many tokens"]
    assert error["raised"] == "BadRequestError"
    assert str(TOO_MANY) in error["text"]
    assert "8192" in error["text"]
