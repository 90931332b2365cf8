"""OpenAI's published client, with each prefix of the OpenAI-compatible routes."""

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
Reported = Callable[[str], dict[str, Any]]
"""The reports by the prefix of the routes."""


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> Reported:
    """Run the calls of each prefix once, and return what the client reported."""

    @cache
    def ask(prefix: str) -> dict[str, Any]:
        base_url = f"http://127.0.0.1:{shared_server.port}{prefix}"
        inputs = {"base_url": base_url, "message": MESSAGE, "prompt": PROMPT, "models": MODELS}
        return run("openai-3.54.0", "openai_routes", inputs)

    return ask


@pytest.fixture(scope="module")
def answer(shared_server: Server) -> str:
    """The answer of MariTalk Local's route to the same message."""
    body = {"messages": [{"role": "user", "content": MESSAGE}], "do_sample": False, "max_tokens": 12}
    return shared_server.ask("/chat/generate", body).json["output"]


@pytest.mark.parametrize("by", [*MODELS, "a key"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_each_model_name_and_key_is_accepted(reported: Reported, answer: str, prefix: str, by: str) -> None:
    completion = reported(prefix)[f"by {by}"]
    assert completion["model"] == "demo"
    assert completion["choices"][0]["message"]["content"] == answer


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_completion_and_its_stream_have_the_answer(reported: Reported, shared_server: Server, prefix: str) -> None:
    completion = reported(prefix)["a text"]
    text = shared_server.ask("/generate", {"prompt": PROMPT, "do_sample": False, "max_tokens": 12}).json["output"]
    assert completion["object"] == "text_completion"
    assert completion["choices"][0]["text"].strip() == text.strip()
    pieces = reported(prefix)["a text, streamed"]
    assert "".join(pieces) == completion["choices"][0]["text"]
    assert len(pieces) > 1


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_list_has_the_served_model(reported: Reported, prefix: str) -> None:
    (model,) = reported(prefix)["models"]
    assert (model["id"], model["object"], model["context_length"]) == ("demo", "model", 8192)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unknown_model_is_not_found(reported: Reported, prefix: str) -> None:
    error = reported(prefix)["no such model"]
    assert error["raised"] == "NotFoundError"
    assert error["text"].startswith("Error code: 404")
    assert "gpt-nope" in error["text"]
