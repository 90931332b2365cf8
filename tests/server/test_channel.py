"""Messages between processes."""

from maritalk_vllm.errors import MariTalkError, UsageError, WeightsError, from_message, to_message
from maritalk_vllm.server.channel import Channel


def test_messages_stay_apart_and_the_end_is_seen() -> None:
    here, there = Channel.pair()
    there.send({"event": "a", "text": "ç" * 5000})
    there.send({"event": "b"})
    assert here.receive() == {"event": "a", "text": "ç" * 5000}
    assert here.receive() == {"event": "b"}
    there.close()
    assert here.receive() is None
    here.send({"event": "into the void"})
    here.close()


def test_an_error_crosses_with_its_exit_code() -> None:
    for error in (WeightsError("a", "b"), UsageError("c")):
        copy = from_message(to_message(error))
        assert type(copy) is type(error)
        assert (copy.message, copy.hint, copy.exit_code) == (error.message, error.hint, error.exit_code)
    assert type(from_message({"error": "Unheard", "message": "x", "hint": ""})) is MariTalkError
