"""What a question is sent with."""

from maritalk_vllm.tools.chat.conversation import Conversation


def made(turns: int, system: str = "") -> Conversation:
    conversation = Conversation(system)
    for number in range(turns):
        conversation.add(f"q{number}", f"a{number}")
    return conversation


def said(conversation: Conversation, without: int = 0) -> str:
    return " ".join(message["content"] for message in conversation.messages("q", without=without))


def test_all_that_was_said_goes_with_a_question() -> None:
    assert made(1, "Be brief.").messages("q1") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "q0"},
        {"role": "assistant", "content": "a0"},
        {"role": "user", "content": "q1"},
    ]
    assert made(0).messages("q") == [{"role": "user", "content": "q"}]


def test_the_oldest_turns_are_forgotten_and_the_system_message_never_is() -> None:
    conversation = made(3, "s")
    assert said(conversation, without=1) == "s q1 a1 q2 a2 q"
    assert said(conversation) == "s q0 a0 q1 a1 q2 a2 q"
    conversation.forget(2)
    assert conversation.remembered == 1
    assert said(conversation) == "s q2 a2 q"
    conversation.forget(1)
    assert said(conversation) == "s q"


def test_what_is_forgotten_is_still_in_the_transcript() -> None:
    conversation = made(2)
    conversation.forget(1)
    assert [message["content"] for message in conversation.transcript()] == ["q0", "a0", "q1", "a1"]


def test_a_conversation_that_begins_anew_keeps_its_system_message() -> None:
    conversation = made(2, "s")
    conversation.forget(1)
    conversation.clear()
    assert said(conversation) == "s q"
    assert (len(conversation.turns), conversation.remembered) == (0, 0)
