"""A message is an English text that keeps its parts."""

import copy
import json
import pickle

import pytest

from maritalk_vllm.i18n.message import Message, Number, joined, mapped, msg, pluralized
from maritalk_vllm.masking import MASK, without


def test_a_message_is_its_english_text() -> None:
    message = msg("{who} holds {size}.", who="x", size=Number(1234.5, ",.1f"))
    assert message == "x holds 1,234.5."
    assert f"{message}" == "x holds 1,234.5."
    assert json.dumps(message) == '"x holds 1,234.5."'
    assert hash(message) == hash("x holds 1,234.5.")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda message: pickle.loads(pickle.dumps(message))])
def test_a_copy_keeps_the_template(copied: "type[Message]") -> None:
    message = pluralized(2, "{number} GPU", "{number} GPUs")
    same = copied(message)  # type: ignore[call-arg]
    assert (same, same.template, same.plural, same.quantity) == ("2 GPUs", "{number} GPU", "{number} GPUs", 2)


def test_a_value_is_required_for_each_name() -> None:
    with pytest.raises(KeyError):
        msg("There is no model {name}.")


def test_secrets_in_values_are_masked_and_the_template_is_kept() -> None:
    message = msg("{reason}: {parts}", reason=OSError("SECRET"), parts=joined(", ", ["a", "SECRET"]))
    masked = without(["SECRET", "a"], message)
    assert masked == f"{MASK}: {MASK}, {MASK}"
    assert isinstance(masked, Message)
    assert masked.template == message.template


def test_a_value_that_a_function_does_not_change_is_kept() -> None:
    number = Number(1.5, ".1f")
    message = mapped(msg("{number} GB", number=number), str.upper)
    assert isinstance(message, Message)
    assert message.values["number"] is number
