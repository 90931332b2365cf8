"""So many logprobs as are made for a client without keeping others waiting, by vLLM's own parameters."""

from types import SimpleNamespace
from typing import Any

import pytest

from maritalk_vllm.engine.exception_mapping import map_vllm_exceptions
from maritalk_vllm.engine.logprob_limits import MAX_LOGPROBS, limit_logprobs
from maritalk_vllm.engine.request_usage import RequestUsage, current
from maritalk_vllm.errors import RequestError

# What vLLM imports warns of itself.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

CONTEXT = 8192


def generated(
    prompt_tokens: int, *, prompts: int = 1, stream: bool = False, is_open: bool = False, **asked: Any
) -> Any:
    """The parameters of the last prompt with which the engine begins. Raises RequestError.

    `is_open`: the request came without max_tokens, for which vLLM has filled in the rest of the context.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    seen: list[Any] = []
    client = SimpleNamespace(
        generate=lambda prompt, parameters, number: seen.append(parameters),
        model_config=SimpleNamespace(max_model_len=CONTEXT),
    )
    limit_logprobs(client)
    kind = RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY
    token = current.set(account := RequestUsage())
    account.is_open = is_open
    try:
        with map_vllm_exceptions():
            for number in range(prompts):
                parameters = SamplingParams(output_kind=kind, **asked)
                client.generate({"prompt_token_ids": [1] * prompt_tokens}, parameters, str(number))
    finally:
        current.reset(token)
    return seen[-1]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"prompt_tokens": 8000, "max_tokens": 1, "prompt_logprobs": 20}, 168_000),
        ({"prompt_tokens": 8000, "max_tokens": 1, "prompt_logprobs": 20, "stream": True}, 168_000),
        ({"prompt_tokens": 1000, "max_tokens": 1, "prompt_logprobs": 1, "n": 10}, 20_000),
        ({"prompt_tokens": 5000, "max_tokens": 1, "prompt_logprobs": 1, "prompts": 2}, 20_000),
        ({"prompt_tokens": 10, "max_tokens": 2000, "logprobs": 20}, 42_000),
        ({"prompt_tokens": 10, "max_tokens": 1000, "logprobs": 1, "n": 10}, 20_000),
        ({"prompt_tokens": 192, "max_tokens": 8000, "logprobs": 2}, 24_000),
        ({"prompt_tokens": 192, "max_tokens": 8000, "logprobs": 1, "n": 2, "is_open": True}, 32_000),
    ],
)
def test_more_than_are_made_at_once(asked: dict[str, Any], told: int) -> None:
    with pytest.raises(RequestError, match=f"asks for {told} logprobs, .* over this server's limit of {MAX_LOGPROBS}"):
        generated(**asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt_tokens": 8000, "max_tokens": 190, "logprobs": 1, "prompt_logprobs": 1},
        {"prompt_tokens": 4000, "max_tokens": 16, "prompt_logprobs": 1, "logprobs": 1},
        {"prompt_tokens": 10, "max_tokens": 700, "logprobs": 20},
        {"prompt_tokens": 10, "max_tokens": 8000, "logprobs": 20, "stream": True},
        {"prompt_tokens": 8000, "max_tokens": 100, "n": 128},
    ],
)
def test_what_is_taken_as_it_is(asked: dict[str, Any]) -> None:
    assert generated(**asked).max_tokens == asked["max_tokens"]


def test_an_answer_without_max_tokens_ends_where_it_would_have_more() -> None:
    assert generated(192, max_tokens=CONTEXT - 192, logprobs=3, is_open=True).max_tokens == MAX_LOGPROBS // 4
    assert generated(192, max_tokens=None, logprobs=0, is_open=True).max_tokens is None
