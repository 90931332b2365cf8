"""A text for users keeps its parts on the way to another process."""

from pathlib import Path

import msgspec
import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.i18n.message import Message, Number, clause, joined, msg, pluralized, sentences, tenths
from maritalk_vllm.i18n.rendering import localized
from maritalk_vllm.server.messaging.error_report import ErrorReport
from maritalk_vllm.server.messaging.text import NumberPart, Text, pack, unpack

TEXTS = (
    "a plain text",
    msg("There is no model {asked}.", asked="x"),
    msg("{path} and {name!r}", path=Path("/a"), name="b"),
    msg("{number} tokens", number=Number(121326)),
    pluralized(2, "{number} GPU", "{number} GPUs"),
    pluralized(tenths(1.3), "{number} user", "{number} users"),
    joined(", ", [msg("{number} GB", number=Number(1.5, ".1f")), "{x}"]),
    sentences(clause("Print JSON."), msg("{reason}", reason=OSError("no"))),
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_arrives_as_it_was(text: str) -> None:
    content = msgspec.msgpack.encode(pack(text))
    copy = unpack(msgspec.msgpack.decode(content, type=str | Text))
    assert copy == text
    assert type(copy) is type(text)
    choose(Language.PORTUGUESE)
    try:
        assert localized(copy) == localized(text)
    finally:
        choose(Language.ENGLISH)


@pytest.mark.parametrize(
    "text",
    [
        Text("{a.__class__}", {"a": "x"}),
        Text("{a[0]}", {"a": "x"}),
        Text("{a:>999999999}", {"a": "x"}),
        Text("{a!s:>{b}}", {"a": "x", "b": "9"}),
        Text("{b}", {"a": "x"}),
        Text("{a}", {"a": "x"}, "{a.b}", 2),
        Text("{", {}),
        Text("{a}", {"a": NumberPart(1.0, ".999999999f")}),
        Text("{a}", {"a": Text("{b.c}", {"b": "x"})}),
    ],
)
def test_a_text_of_another_program_looks_nothing_up(text: Text) -> None:
    with pytest.raises(ValueError):
        text.to_message()
    error = ErrorReport("WeightsError", "English.", "Hint.", text, "").to_error()
    assert (type(error), error.message, error.hint) == (WeightsError, "English.", "Hint.")


def test_an_error_keeps_the_template_of_its_message() -> None:
    error = WeightsError(msg("There is no model {asked}.", asked="x"), "Give both or neither.")
    copy = ErrorReport.of(error).to_error()
    assert isinstance(copy.message, Message)
    assert copy.message.template == "There is no model {asked}."
    assert copy.hint == error.hint
