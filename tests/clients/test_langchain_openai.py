"""ChatOpenAI of the published langchain-openai, which sends tools without `strict` and accepts only JSON objects."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGE
from tests.serving import Server

pytestmark = pytest.mark.clients

CITIES = ("Recife", "Manaus")


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> dict[str, Any]:
    inputs = {"base_url": f"http://127.0.0.1:{shared_server.port}/v1", "message": MESSAGE}
    return run("langchain-openai-1.7.4", "chat_openai", inputs)


def assert_weather(call: dict[str, Any]) -> None:
    assert (call["type"], call["name"]) == ("tool_call", "weather")
    assert call["args"]["city"] in CITIES
    assert set(call["args"]) <= {"city", "days"}


@pytest.mark.parametrize("choice", ["any", "required", "True", "weather"])
def test_a_required_tool_is_called(reported: dict[str, Any], choice: str) -> None:
    call = reported[choice]["call"]
    assert_weather(call)
    assert reported[choice]["result"] == f"{call['args']['city']}, {call['args'].get('days', 1)}"


def test_a_streamed_call_is_that_of_the_required_tool(reported: dict[str, Any]) -> None:
    (call,) = reported["stream"]
    assert_weather(call)


@pytest.mark.parametrize("name", ["no parameters", "no parameters, async"])
def test_a_tool_without_parameters_is_called(reported: dict[str, Any], name: str) -> None:
    (call,) = reported[name]
    assert (call["name"], call["args"]) == ("clock", {})


def assert_place(place: dict[str, Any]) -> None:
    assert set(place) == {"city", "degrees"}
    assert place["city"] in CITIES
    assert type(place["degrees"]) is int


@pytest.mark.parametrize("name", ["Place", "Place, dict"])
def test_structured_output_matches_the_schema(reported: dict[str, Any], name: str) -> None:
    assert_place(reported[name])


@pytest.mark.parametrize("name", ["Trip", "Trip, dict"])
def test_nested_structured_output_matches_the_schema(reported: dict[str, Any], name: str) -> None:
    trip = reported[name]
    assert set(trip) == {"begin", "end", "by_boat"}
    assert_place(trip["begin"])
    assert_place(trip["end"])
    assert type(trip["by_boat"]) is bool
