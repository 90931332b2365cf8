"""Questions and answers, one after the other."""

import signal
import threading
import time

import pytest

from maritalk_vllm.tools.chat import chat_client as client_module
from tests.tools.chat.chatting import Chatting, chatting


def asked(chat: Chatting, number: int = -1) -> str:
    return " ".join(message["content"] for message in chat.model.posted[number]["messages"])


def interrupt_when_it_waits(chat: Chatting) -> threading.Thread:
    """Ctrl-C, once the answer has come as far as "wait"."""

    def interrupt() -> None:
        while "wait" not in chat.out.getvalue():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    return thread


def test_each_question_is_asked_with_all_that_was_said() -> None:
    with chatting(system="s") as chat:
        assert chat.says("um", "", "  ", "dois dois", "três")
        assert asked(chat) == "s um um dois dois dois dois três"
    assert chat.out.getvalue() == "um\ndois dois\ntrês\n"
    assert chat.notes.getvalue() == ""


def test_a_person_sees_who_speaks() -> None:
    with chatting(attended=True) as chat:
        chat.says("um", "dois")
    assert chat.out.getvalue() == "MariTalk: um\nMariTalk: dois\n"


def test_a_question_that_begins_with_the_sign_of_commands() -> None:
    with chatting() as chat:
        assert chat.says("//um")
        assert asked(chat) == "/um"


def test_a_full_context_drops_the_oldest_turns_and_says_so() -> None:
    """The fewest go without which the question fits. The server counts, and only when it has refused."""
    with chatting(context=11, system="s") as chat:
        assert chat.says("/parameters max_tokens=3", "a", "b", "c", "d")
        assert (asked(chat), chat.model.counted) == ("s a a b b c c d", 0)
        assert chat.notes.getvalue() == "max_tokens  3\n"
        assert chat.says("e")
        assert asked(chat) == "s b b c c d d e"
        assert chat.notes.getvalue().endswith("\nThe context is full. Oldest turns that are not sent any more: 1.\n")
        assert chat.says("f f f f f")
        assert asked(chat) == "s e e f f f f f"
        assert "not sent any more: 3." in chat.notes.getvalue()
        assert chat.says("g")
        assert len(chat.session.conversation.turns) == 7, "all are still there to be saved"


def test_a_question_that_does_not_fit_alone_drops_nothing() -> None:
    with chatting(context=600) as chat:
        assert not chat.says("a", "b " * 100)
        assert "The prompt has 102 tokens." in chat.notes.getvalue()
        assert chat.session.conversation.remembered == 1


def test_a_question_that_failed_is_no_part_of_what_was_said() -> None:
    with chatting() as chat:
        assert not chat.says("um", "die", "dois")
        assert asked(chat) == "um um dois"
    assert "The engine has died, and is started again.\n" in chat.notes.getvalue()
    assert chat.out.getvalue() == "um\ndie\ndois\n"


def test_an_engine_that_died_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_LOOK_SECONDS", 0.02)
    with chatting(attended=True) as chat:
        chat.says("die")
    assert chat.notes.getvalue().splitlines() == [
        "The engine has died, and is started again.",
        "The model is being loaded. This waits for it.",
        "The model is there again.",
    ]


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_came() -> None:
    with chatting(attended=True) as chat:
        thread = interrupt_when_it_waits(chat)
        assert chat.says("um wait dois", "três")
        thread.join()
        assert chat.model.hung_up.wait(5), "the server has to know that nobody listens any more"
        assert asked(chat) == "um wait dois um wait três"
    assert chat.out.getvalue() == "MariTalk: um wait\nMariTalk: três\n"
    assert chat.notes.getvalue() == "Stopped. What came is kept.\n"


def test_in_a_pipe_an_interruption_ends_the_chat() -> None:
    with chatting() as chat:
        thread = interrupt_when_it_waits(chat)
        with pytest.raises(KeyboardInterrupt):
            chat.says("um wait dois", "três")
        thread.join()
        assert len(chat.model.posted) == 1


def test_an_answer_that_was_cut_says_what_lets_it_be_longer() -> None:
    with chatting() as chat:
        assert chat.says("cut")
    assert chat.notes.getvalue() == "The answer was cut at 512 tokens. /parameters max_tokens=1024 lets it be longer.\n"


def test_who_sits_there_has_seen_what_went_wrong() -> None:
    with chatting(attended=True) as chat:
        assert chat.says("/tims")
    with chatting() as chat:
        assert not chat.says("/tims")
