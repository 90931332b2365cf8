"""OpenAI's published client, by the prefixes under which the routes of its API are."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGE, PROMPT
from tests.serving import Server

pytestmark = pytest.mark.clients

PREFIXES = ["/api", "/api/v1", "/v1"]
MODELS = ["demo", "sabia-3", "sabiazinho-4", "MariTalk"]
Told = Callable[[str], dict[str, Any]]
"""What the calls came to, by the prefix of the routes."""


@pytest.fixture(scope="module")
def told(shared_server: Server) -> Told:
    """What came of the calls by a prefix. Each is run once."""

    @cache
    def ask(prefix: str) -> dict[str, Any]:
        base_url = f"http://127.0.0.1:{shared_server.port}{prefix}"
        asked = {"base_url": base_url, "message": MESSAGE, "prompt": PROMPT, "models": MODELS}
        return run("openai-3.54.0", "openai_routes", asked)

    return ask


@pytest.fixture(scope="module")
def answer(shared_server: Server) -> str:
    """What the server answers to the same message by a route of its own."""
    body = {"messages": [{"role": "user", "content": MESSAGE}], "do_sample": False, "max_tokens": 12}
    return shared_server.ask("/chat/generate", body).json["output"]


@pytest.mark.parametrize("by", [*MODELS, "a key"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_models_and_keys(told: Told, answer: str, prefix: str, by: str) -> None:
    completion = told(prefix)[f"by {by}"]
    assert completion["model"] == "demo"
    assert completion["choices"][0]["message"]["content"] == answer


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_text(told: Told, shared_server: Server, prefix: str) -> None:
    completion = told(prefix)["a text"]
    text = shared_server.ask("/generate", {"prompt": PROMPT, "do_sample": False, "max_tokens": 12}).json["output"]
    assert completion["object"] == "text_completion"
    assert completion["choices"][0]["text"].strip() == text.strip()
    pieces = told(prefix)["a text, streamed"]
    assert "".join(pieces) == completion["choices"][0]["text"]
    assert len(pieces) > 1


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_list_of_models(told: Told, prefix: str) -> None:
    (model,) = told(prefix)["models"]
    assert (model["id"], model["object"], model["context_length"]) == ("demo", "model", 8192)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_such_model(told: Told, prefix: str) -> None:
    error = told(prefix)["no such model"]
    assert error["raised"] == "NotFoundError"
    assert error["text"].startswith("Error code: 404")
    assert "gpt-nope" in error["text"]
