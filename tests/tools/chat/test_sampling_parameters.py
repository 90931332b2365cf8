"""Parameters are accepted and rejected exactly as the API accepts and rejects its fields."""

import json

import pytest

from maritalk_vllm.api.local_schema import ChatGenerateRequest
from maritalk_vllm.api.request_parsing import read
from maritalk_vllm.errors import RequestError, UsageError
from maritalk_vllm.tools.chat.sampling_parameters import SamplingParameters

VALUES = {
    "do_sample": ["true", "false", "null", "1", "yes"],
    "temperature": ["0", "0.2", "50", "-0.1", "null", "hot", "[1]"],
    "top_p": ["1", "0.5", "0", "1.01", "true"],
    "max_tokens": ["1", "9000", "0", "1.5", "-1"],
    "stop_sequences": ['["a","b"]', "[]", "null", '[""]', "[1]", "7", json.dumps(["x"] * 65)],
    "seed": ["0", "-9", "null", "1e3", "9223372036854775808", "abc"],
    "top_k": ["-1", "0", "40", "null", "-2", "2147483648"],
    "repetition_penalty": ["1.1", "0.01", "100", "null", "0", "101"],
}


def api_accepts(name: str, value: str) -> bool:
    body = f'{{"messages": [{{"role": "user", "content": "x"}}], {json.dumps(name)}: {value}}}'
    try:
        read(body.encode(), ChatGenerateRequest)
    except RequestError:
        return False
    return True


def chat_accepts(name: str, value: str) -> bool:
    try:
        SamplingParameters().change([f"{name}={value}"])
    except UsageError as error:
        assert name in str(error)
        return False
    return True


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALUES.items() for value in values])
def test_value_is_accepted_if_the_api_accepts_it(name: str, value: str) -> None:
    assert chat_accepts(name, value) == api_accepts(name, value)


def test_all_api_fields_are_offered_except_fixed_ones() -> None:
    names = [name for name, _ in SamplingParameters().lines()]
    assert names == list(VALUES)
    assert {*names, "stream", "n", "return_usage", "messages", "prompt"} == set(ChatGenerateRequest.__struct_fields__)


def test_fields_has_set_parameters_and_max_tokens() -> None:
    parameters = SamplingParameters()
    assert parameters.fields == {"max_tokens": 512}
    parameters.change(["temperature=0.2", "stop_sequences=Fim", "seed=7"])
    assert parameters.fields == {"max_tokens": 512, "temperature": 0.2, "stop_sequences": ["Fim"], "seed": 7}
    parameters.change(["temperature=", "max_tokens=64"])
    assert parameters.fields == {"max_tokens": 64, "stop_sequences": ["Fim"], "seed": 7}
    assert ("stop_sequences", '["Fim"]') in parameters.lines()
    assert ("temperature", "0.7") in parameters.lines()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("temprature=1", "There is no parameter temprature. Did you mean temperature?"),
        ("stream=true", "There is no parameter stream."),
        ("seed", "seed has no value. Write seed=VALUE."),
        ("top_p=2", "Invalid value for top_p: expected a number, over 0, at most 1, got 2."),
        (
            "top_k=many",
            "Invalid value for top_k: expected a whole number, at least -1, at most 2147483647, got many.",
        ),
        ("do_sample=yes", "Invalid value for do_sample: expected true or false, got yes."),
        (
            "stop_sequences=7",
            'Invalid value for stop_sequences: expected a list of at most 64 texts, such as ["a", "b"], got 7.',
        ),
    ],
)
def test_error_messages_name_the_allowed_values(assignment: str, message: str) -> None:
    parameters = SamplingParameters()
    with pytest.raises(UsageError) as error:
        parameters.change(["temperature=0.3", assignment])
    assert str(error.value).startswith(message)
    assert parameters.fields == {"max_tokens": 512}, "all or nothing"
