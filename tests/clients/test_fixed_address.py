"""Third-party clients with the cloud's address hard-coded: langchain-community and llama-index."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import ECHO, MESSAGE, MESSAGES, STOPS, TOO_MANY
from tests.serving import Server

pytestmark = [pytest.mark.clients, pytest.mark.nightly]

ROUTE = "/api/chat/inference"
GREEDY = {"do_sample": False, "max_tokens": 12}
CALLS: dict[str, dict[str, Any]] = {
    "a conversation": {"messages": MESSAGES, "stopping_tokens": []},
    "a conversation, stopped": {"messages": MESSAGES, "stopping_tokens": STOPS},
    "an echo": {"messages": ECHO, "stopping_tokens": []},
}
ASKED = {"calls": CALLS, "message": MESSAGE, "too many": TOO_MANY}


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, dict[str, Any]]:
    """The server's answers to the same requests, without a client."""
    answers = {name: shared_server.ask(ROUTE, call | GREEDY).json for name, call in CALLS.items()}
    return answers | {"a message": shared_server.ask(ROUTE, {"messages": MESSAGE} | GREEDY).json}


@pytest.fixture(scope="module")
def expected_error(shared_server: Server) -> dict[str, str]:
    """The error that a client reports for too many tokens."""
    detail = shared_server.ask(ROUTE, {"messages": MESSAGE, "max_tokens": TOO_MANY}).json["detail"]
    assert str(TOO_MANY) in detail
    return {"raised": "MaritalkHTTPError", "text": f"HTTP Error: 400 - Bad Request\nDetail: {detail}"}


@pytest.fixture(scope="module")
def langchain(redirected: dict[str, str]) -> dict[str, Any]:
    return run("langchain-community-0.4.2", "chat_maritalk", ASKED, redirected)


@pytest.fixture(scope="module")
def llama(redirected: dict[str, str]) -> dict[str, Any]:
    return run("llama-index-llms-maritalk-0.7.0", "llama_maritalk", ASKED, redirected)


@pytest.mark.parametrize("method", ["invoke", "ainvoke"])
@pytest.mark.parametrize("name", CALLS)
def test_langchain_returns_the_answer(
    langchain: dict[str, Any], plain: dict[str, dict[str, Any]], name: str, method: str
) -> None:
    assert langchain[f"{name}, {method}"] == plain[name]["answer"]


@pytest.mark.parametrize("method", ["stream", "astream"])
@pytest.mark.parametrize("name", CALLS)
def test_langchain_streams_the_answer(
    langchain: dict[str, Any], plain: dict[str, dict[str, Any]], name: str, method: str
) -> None:
    pieces = [piece for piece in langchain[f"{name}, {method}"] if piece]
    assert len(pieces) > 1
    assert "".join(pieces) == plain[name]["answer"]


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream"])
def test_langchain_reports_the_servers_error(
    langchain: dict[str, Any], expected_error: dict[str, str], method: str
) -> None:
    assert langchain[f"too many tokens, {method}"] == expected_error


@pytest.mark.parametrize("method", ["chat", "achat"])
@pytest.mark.parametrize("name", CALLS)
def test_llama_index_returns_the_answer(
    llama: dict[str, Any], plain: dict[str, dict[str, Any]], name: str, method: str
) -> None:
    assert llama[f"{name}, {method}"] == plain[name]["answer"]
    assert llama[f"{name}, as it came"] == plain[name]


@pytest.mark.parametrize("method", ["stream_chat", "astream_chat"])
@pytest.mark.parametrize("name", CALLS)
def test_llama_index_streams_the_answer(
    llama: dict[str, Any], plain: dict[str, dict[str, Any]], name: str, method: str
) -> None:
    pieces = llama[f"{name}, {method}"]
    assert len(pieces) > 1
    assert "".join(pieces) == plain[name]["answer"]


@pytest.mark.parametrize("method", ["complete", "acomplete", "stream_complete", "astream_complete"])
def test_llama_index_completes_a_prompt(llama: dict[str, Any], plain: dict[str, dict[str, Any]], method: str) -> None:
    assert "".join(llama[f"a message, {method}"]) == plain["a message"]["answer"]


@pytest.mark.parametrize("method", ["chat", "achat", "stream_chat"])
def test_llama_index_reports_the_servers_error(
    llama: dict[str, Any], expected_error: dict[str, str], method: str
) -> None:
    assert llama[f"too many tokens, {method}"] == expected_error


def test_the_expected_answers_have_the_intended_content(plain: dict[str, dict[str, Any]]) -> None:
    assert "Rome" in plain["a conversation"]["answer"]
    assert plain["a conversation, stopped"]["answer"] == plain["a conversation"]["answer"].split(" Rome")[0]
    assert plain["an echo"]["answer"].strip() == ECHO[-1]["content"]


@pytest.mark.parametrize("method", ["stream", "stream_chat"])
def test_an_answer_contains_the_prefix_that_clients_remove(
    langchain: dict[str, Any], llama: dict[str, Any], method: str
) -> None:
    assert any("data: " in piece for piece in (langchain | llama)[f"an echo, {method}"])
