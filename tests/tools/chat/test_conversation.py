"""The messages that are sent with a question."""

from maritalk_vllm.tools.chat.conversation import Conversation


def conversation_of(turns: int, system: str = "") -> Conversation:
    conversation = Conversation(system)
    for number in range(turns):
        conversation.add(f"q{number}", f"a{number}")
    return conversation


def sent_text(conversation: Conversation, skip: int = 0) -> str:
    return " ".join(message["content"] for message in conversation.messages("q", skip=skip))


def test_messages_have_all_turns() -> None:
    assert conversation_of(1, "Be brief.").messages("q1") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "q0"},
        {"role": "assistant", "content": "a0"},
        {"role": "user", "content": "q1"},
    ]
    assert conversation_of(0).messages("q") == [{"role": "user", "content": "q"}]


def test_drop_oldest_keeps_the_system_message() -> None:
    conversation = conversation_of(3, "s")
    assert sent_text(conversation, skip=1) == "s q1 a1 q2 a2 q"
    assert sent_text(conversation) == "s q0 a0 q1 a1 q2 a2 q"
    conversation.drop_oldest(2)
    assert conversation.active_turns == 1
    assert sent_text(conversation) == "s q2 a2 q"
    conversation.drop_oldest(1)
    assert sent_text(conversation) == "s q"


def test_dropped_turns_stay_in_the_transcript() -> None:
    conversation = conversation_of(2)
    conversation.drop_oldest(1)
    assert [message["content"] for message in conversation.transcript()] == ["q0", "a0", "q1", "a1"]


def test_clear_keeps_the_system_message() -> None:
    conversation = conversation_of(2, "s")
    conversation.drop_oldest(1)
    conversation.clear()
    assert sent_text(conversation) == "s q"
    assert (len(conversation.turns), conversation.active_turns) == (0, 0)
