"""The chat client, with servers that answer, fail, are slow, or are down."""

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from maritalk_vllm.errors import MariTalkError, RequestError, Unavailable
from maritalk_vllm.models.profile import profiles
from maritalk_vllm.tools.chat import chat_client as client_module
from maritalk_vllm.tools.chat.answer import Answer
from maritalk_vllm.tools.chat.chat_client import MARITALK_MODELS, ChatClient, ContextUsage
from maritalk_vllm.tools.server_address import ServerAddress
from tests.answering import Request, answering
from tests.tools.chat.fake_server import END, event, fake_server, reply, write

MESSAGES = [{"role": "user", "content": "um dois"}]


def ask(url: str, **options: object) -> list[str | Answer]:
    with ChatClient(ServerAddress(url=url, **options)) as client:  # type: ignore[arg-type]
        return list(client.answer(MESSAGES, {"max_tokens": 9}))


def test_answer_streams_pieces_and_then_the_answer() -> None:
    with fake_server() as (model, server):
        *pieces, whole = ask(server.url)
    assert pieces == ["", "um", " dois"]
    assert whole == Answer(
        text="um dois",
        queue_time=0.0,
        prompt_time=0.038,
        generation_time=0.5,
        prompt_tokens=7,
        completion_tokens=2,
    )
    assert model.requests_received == [{"messages": MESSAGES, "max_tokens": 9, "stream": True, "return_usage": True}]


def test_api_key_is_sent_with_each_request() -> None:
    with fake_server() as (model, server), ChatClient(ServerAddress(url=server.url, key="ção")) as client:
        client.wait_until_loaded(lambda: None)
        list(client.answer(MESSAGES, {"max_tokens": 9}))
        client.count(MESSAGES)
    sent = [headers["authorization"].encode("latin-1").decode() for headers in model.headers]
    assert sent == ["Bearer ção"] * 3


def test_name_of_the_model() -> None:
    with fake_server(model_name="qwen3-4b") as (_, server), ChatClient(ServerAddress(url=server.url)) as client:
        assert (client.model_name(), client.answer_name()) == ("qwen3-4b", "qwen3-4b")
    loading = answering(lambda request: reply(request, 503, {"error": "The model is still loading."}))
    with loading as server, ChatClient(ServerAddress(url=server.url)) as client:
        assert (client.model_name(), client.answer_name()) == ("", "MariTalk")


def test_maritalk_answers_under_its_own_name() -> None:
    assert {each.name for each in profiles().values() if each.title.startswith("MariTalk")} == set(MARITALK_MODELS)
    with fake_server(model_name="medium") as (_, server), ChatClient(ServerAddress(url=server.url)) as client:
        assert client.answer_name() == "MariTalk"


def test_non_streaming_response() -> None:
    """MariTalk Local itself, whose times are float seconds from 2024 on."""
    content = {"output": "oi", "queue_time": 0.5, "prompt_time": 1.5, "generation_time": 2.0}
    with answering(lambda request: reply(request, 200, content)) as server:
        first, text, whole = ask(server.url)
    assert (first, text) == ("", "oi")
    assert whole == Answer(text="oi", queue_time=0.5, prompt_time=1.5, generation_time=2.0)
    assert whole.tokens_per_second is None


def test_times_and_tokens_per_second() -> None:
    answer = Answer.from_json({"output": "x", **END, "usage": {"prompt_tokens": 7, "completion_tokens": 26}})
    assert answer.tokens_per_second == 50
    assert answer.times() == (
        "queue 0.000 s, prompt 0.038 s, generation 0.500 s; tokens: 7 of the prompt, 26 of the answer; 50.0 tokens/s"
    )


def stream(*parts: bytes) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        request.begin(200, content_type="text/event-stream", connection="close")
        for part in parts:
            write(request, part)

    return answer


def json_answer(status: int, content: object) -> Callable[[Request], None]:
    return lambda request: reply(request, status, content)


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (json_answer(400, {"error": "Too long by 3."}), RequestError, "Too long by 3."),
        (json_answer(429, {"detail": "Not so fast."}), Unavailable, "Not so fast."),
        (json_answer(401, {"error": "A key is needed."}), Unavailable, "A key is needed. Give it with --api-key"),
        (json_answer(503, {"error": "Too many."}), Unavailable, "Too many."),
        (json_answer(404, ["nothing"]), Unavailable, "The server answers 404 Not Found."),
        (lambda request: request.reply(502, b"<html>"), Unavailable, "The server answers 502 Bad Gateway."),
        (lambda request: request.reply(200, b"<html>"), Unavailable, "does not answer as a MariTalk server does"),
        (json_answer(200, {"text": "oi"}), Unavailable, "does not answer as a MariTalk server does"),
        (stream(event({"text": "a"}), event({"error": "It died."}, "error")), Unavailable, "It died."),
        (stream(event({"text": "a"})), Unavailable, "The answer broke off."),
        (stream(b"data: [DONE]\n\n"), Unavailable, "does not answer as a MariTalk server does"),
        (stream(event({"output": "a"}, "end")), Unavailable, "does not answer as a MariTalk server does"),
        (lambda request: request.begin(200, content_length=9), Unavailable, "broke off"),
    ],
)
def test_error_messages(answer: Callable[[Request], None], kind: type[MariTalkError], message: str) -> None:
    def once(request: Request) -> None:
        request.close_connection = True
        answer(request)

    with answering(once) as server, pytest.raises(kind) as error:
        ask(server.url)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_server() -> None:
    with answering(lambda _: None) as server:
        url = server.url
    with pytest.raises(Unavailable, match=r"No server answers at http.*maritalk-serve"):
        ask(url)


def test_https_with_a_private_ca(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with fake_server() as (_, server):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}"
        assert ask(url, ca_file=tmp_path / "ca.pem")[1:-1] == ["um", " dois"]
        assert ask(url, verify=False)[1:-1] == ["um", " dois"]
        with pytest.raises(Unavailable, match=r"is not trusted: .* --cacert"):
            ask(url)


def test_wait_until_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_POLL_SECONDS", 0.01)
    notifications = []
    with fake_server(status="loading") as (model, server), ChatClient(ServerAddress(url=server.url)) as client:

        def on_loading() -> None:
            notifications.append(time.monotonic())
            model.status = "idle"

        assert client.wait_until_loaded(on_loading)
        assert not client.wait_until_loaded(on_loading)
    assert len(notifications) == 1


def test_short_outage_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an engine's death open connections break, and new ones reach the loading app."""
    monkeypatch.setattr(client_module, "_POLL_SECONDS", 0.01)
    answers = iter([b'{"status": "idle"}', None, None, b'{"status": "busy"}'])

    def answer(request: Request) -> None:
        request.close_connection = True
        if (content := next(answers)) is not None:
            request.reply(200, content)

    with answering(answer) as server, ChatClient(ServerAddress(url=server.url)) as client:
        assert not client.wait_until_loaded(lambda: None)
        assert not client.wait_until_loaded(lambda: None)
        assert len(server.requests) == 4


def test_longer_outage_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "_RECONNECT_SECONDS", 0.1)

    def answer(request: Request) -> None:
        request.close_connection = True
        reply(request, 200, {"status": "idle"})

    with answering(answer) as server:
        client = ChatClient(ServerAddress(url=server.url))
        client.wait_until_loaded(lambda: None)
    with client, pytest.raises(Unavailable, match="No server answers"):
        client.wait_until_loaded(lambda: None)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"status": "loading"'])
def test_unknown_status_does_not_count_as_loading(content: bytes) -> None:
    with (
        answering(lambda request: request.reply(200, content)) as server,
        ChatClient(ServerAddress(url=server.url)) as client,
    ):
        assert not client.wait_until_loaded(lambda: None)


def test_count() -> None:
    with fake_server(context=77) as (_, server), ChatClient(ServerAddress(url=server.url)) as client:
        assert client.count(MESSAGES) == ContextUsage(tokens=2, max_model_len=77)
    with (
        answering(lambda request: request.reply(404, b"")) as server,
        ChatClient(ServerAddress(url=server.url)) as client,
    ):
        assert client.count(MESSAGES) is None
    assert json.loads(server.requests[0].content) == {"messages": MESSAGES}
