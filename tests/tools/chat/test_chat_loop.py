"""The chat loop: questions, answers, interruptions."""

import signal
import threading
import time

import pytest

from maritalk_vllm.tools.chat import chat_client as client_module
from tests.tools.chat.chatting import ChatHarness, chat_with_fake_server


def sent_text(chat: ChatHarness, number: int = -1) -> str:
    return " ".join(message["content"] for message in chat.model.requests_received[number]["messages"])


def interrupt_during_wait(chat: ChatHarness) -> threading.Thread:
    """Send SIGINT once the answer has reached the word "wait"."""

    def interrupt() -> None:
        while "wait" not in chat.out.getvalue():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_each_question_is_sent_with_the_whole_conversation() -> None:
    with chat_with_fake_server(system="s") as chat:
        assert chat.send("um", "", "  ", "dois dois", "três")
        assert sent_text(chat) == "s um um dois dois dois dois três"
    assert chat.out.getvalue() == "um\ndois dois\ntrês\n"
    assert chat.notes.getvalue() == ""


def test_interactive_answers_are_labelled() -> None:
    with chat_with_fake_server(interactive=True) as chat:
        chat.send("um", "dois")
    assert chat.out.getvalue() == "MariTalk: um\nMariTalk: dois\n"


def test_an_open_model_is_named_before_its_answers() -> None:
    with chat_with_fake_server(interactive=True, model_name="qwen3-4b") as chat:
        chat.send("um")
    assert chat.out.getvalue() == "qwen3-4b: um\n"


def test_the_demo_model_is_named_where_it_answers() -> None:
    with chat_with_fake_server(interactive=True, demo="Demo model.", model_name="demo") as chat:
        chat.send("um")
    assert (chat.notes.getvalue(), chat.out.getvalue()) == ("Demo model.\n", "demo: um\n")
    with chat_with_fake_server(demo="Demo model.") as piped:
        piped.send("um")
    assert (piped.notes.getvalue(), piped.out.getvalue()) == ("", "um\n")


def test_doubled_slash_starts_a_question() -> None:
    with chat_with_fake_server() as chat:
        assert chat.send("//um")
        assert sent_text(chat) == "/um"


def test_full_context_drops_the_oldest_turns_with_a_note() -> None:
    """As few turns as possible are dropped. Tokens are counted only once the server has rejected the question."""
    with chat_with_fake_server(context=11, system="s") as chat:
        assert chat.send("/parameters max_tokens=3", "a", "b", "c", "d")
        assert (sent_text(chat), chat.model.tokenize_calls) == ("s a a b b c c d", 0)
        assert chat.notes.getvalue() == "max_tokens  3\n"
        assert chat.send("e")
        assert sent_text(chat) == "s b b c c d d e"
        assert chat.notes.getvalue().endswith("\nThe context is full. Oldest turns that are not sent any more: 1.\n")
        assert chat.send("f f f f f")
        assert sent_text(chat) == "s e e f f f f f"
        assert "not sent any more: 3." in chat.notes.getvalue()
        assert chat.send("g")
        assert len(chat.session.conversation.turns) == 7, "all turns are still there to be saved"


def test_question_too_long_by_itself_drops_nothing() -> None:
    with chat_with_fake_server(context=600) as chat:
        assert not chat.send("a", "b " * 100)
        assert "The prompt has 102 tokens." in chat.notes.getvalue()
        assert chat.session.conversation.active_turns == 1


def test_failed_question_is_not_part_of_the_conversation() -> None:
    with chat_with_fake_server() as chat:
        assert not chat.send("um", "die", "dois")
        assert sent_text(chat) == "um um dois"
    assert "The engine has died, and is started again.\n" in chat.notes.getvalue()
    assert chat.out.getvalue() == "um\ndie\ndois\n"


def test_chat_waits_for_a_restarting_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_POLL_SECONDS", 0.02)
    with chat_with_fake_server(interactive=True) as chat:
        chat.send("die")
    assert chat.notes.getvalue().splitlines() == [
        "The engine has died, and is started again.",
        "The model is being loaded. This waits for it.",
        "The model is available again.",
    ]


def test_interrupted_answer_is_kept() -> None:
    with chat_with_fake_server(interactive=True) as chat:
        thread = interrupt_during_wait(chat)
        assert chat.send("um wait dois", "três")
        thread.join()
        assert chat.model.disconnected.wait(5), "the server must notice the disconnect"
        assert sent_text(chat) == "um wait dois um wait três"
    assert chat.out.getvalue() == "MariTalk: um wait\nMariTalk: três\n"
    assert chat.notes.getvalue() == "Stopped. The partial answer is kept.\n"


def test_interrupt_ends_a_chat_in_a_pipe() -> None:
    with chat_with_fake_server() as chat:
        thread = interrupt_during_wait(chat)
        with pytest.raises(KeyboardInterrupt):
            chat.send("um wait dois", "três")
        thread.join()
        assert len(chat.model.requests_received) == 1


def test_truncated_answer_names_the_command_for_longer_ones() -> None:
    with chat_with_fake_server() as chat:
        assert chat.send("cut")
    assert chat.notes.getvalue() == "The answer was cut at 512 tokens. /parameters max_tokens=1024 lets it be longer.\n"


def test_interactive_chat_succeeds_despite_errors() -> None:
    with chat_with_fake_server(interactive=True) as chat:
        assert chat.send("/tims")
    with chat_with_fake_server() as chat:
        assert not chat.send("/tims")
