"""The Responses API, with OpenAI's published client."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGE, MESSAGES, TOO_MANY
from tests.serving import Server

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module", params=["/api", "/api/v1"])
def reported(request: pytest.FixtureRequest, shared_server: Server) -> dict[str, Any]:
    base_url = f"http://127.0.0.1:{shared_server.port}{request.param}"
    inputs = {"base_url": base_url, "messages": MESSAGES, "message": MESSAGE, "too many": TOO_MANY}
    return run("openai-3.54.0", "openai_responses", inputs)


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, str]:
    """The answers of MariTalk Local's routes to the same requests."""
    conversations = {"a conversation": MESSAGES, "a text": [{"role": "user", "content": MESSAGE}]}
    greedy = {"do_sample": False, "max_tokens": 12}
    return {
        name: shared_server.ask("/chat/generate", {"messages": messages} | greedy).json["output"]
        for name, messages in conversations.items()
    }


def test_a_response_has_the_answer_and_usage(reported: dict[str, Any], plain: dict[str, str]) -> None:
    response = reported["a conversation"]
    assert (response["object"], response["status"], response["model"]) == ("response", "completed", "demo")
    (message,) = response["output"]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    (content,) = message["content"]
    assert (content["type"], content["text"]) == ("output_text", plain["a conversation"])
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_instructions_and_text_inputs_are_accepted(reported: dict[str, Any], plain: dict[str, str]) -> None:
    assert reported["instructions"] == plain["a conversation"]
    assert reported["a text"] == plain["a text"]


def test_max_output_tokens_make_a_response_incomplete(reported: dict[str, Any]) -> None:
    assert reported["cut"]["status"] == "incomplete"
    assert reported["cut"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert reported["cut"]["usage"]["output_tokens"] == 3


def test_a_stream_has_openais_events(reported: dict[str, Any], plain: dict[str, str]) -> None:
    events = reported["streamed"]
    pieces = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(pieces),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(1, len(events) + 1))
    assert "".join(pieces) == plain["a conversation"]
    assert len(pieces) > 1
    assert events[-1]["response"]["usage"]["total_tokens"] == reported["a conversation"]["usage"]["total_tokens"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("too many tokens", "BadRequestError", str(TOO_MANY)), ("no such model", "NotFoundError", "gpt-nope")],
)
def test_an_error_has_its_class_and_message(reported: dict[str, Any], name: str, kind: str, words: str) -> None:
    assert reported[name]["raised"] == kind
    assert words in reported[name]["text"]
