"""The limit of logprobs for a request, with vLLM's own sampling parameters."""

from typing import Any

import pytest

from maritalk_vllm.engine.logprob_limits import MAX_LOGPROBS, limit_logprobs
from maritalk_vllm.engine.request_usage import RequestUsage
from maritalk_vllm.errors import RequestError

# Imports of vLLM cause warnings.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

CONTEXT = 8192


def limited(prompt_tokens: int, *, prompts: int = 1, stream: bool = False, is_open: bool = False, **fields: Any) -> Any:
    """Return the parameters of the last prompt of a request. Raises RequestError.

    `is_open`: the request has no max_tokens, so vLLM has set it to the rest of the context.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    kind = RequestOutputKind.DELTA if stream else RequestOutputKind.FINAL_ONLY
    usage = RequestUsage()
    usage.is_open = is_open
    for _ in range(prompts):
        parameters = SamplingParams(output_kind=kind, **fields)
        limit_logprobs(parameters, prompt_tokens, CONTEXT, usage)
    return parameters


@pytest.mark.parametrize(
    ("fields", "count"),
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
def test_too_many_logprobs_are_rejected(fields: dict[str, Any], count: int) -> None:
    with pytest.raises(RequestError, match=f"asks for {count} logprobs, .* over this server's limit of {MAX_LOGPROBS}"):
        limited(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_tokens": 6000, "max_tokens": 140, "logprobs": 1, "prompt_logprobs": 1},
        {"prompt_tokens": 4000, "max_tokens": 16, "prompt_logprobs": 1, "logprobs": 1},
        {"prompt_tokens": 10, "max_tokens": 580, "logprobs": 20},
        {"prompt_tokens": 10, "max_tokens": 8000, "logprobs": 20, "stream": True},
        {"prompt_tokens": 8000, "max_tokens": 100, "n": 128},
    ],
)
def test_logprobs_within_the_limit_are_accepted(fields: dict[str, Any]) -> None:
    assert limited(**fields).max_tokens == fields["max_tokens"]


def test_open_answer_is_capped_at_the_limit() -> None:
    assert limited(192, max_tokens=CONTEXT - 192, logprobs=3, is_open=True).max_tokens == MAX_LOGPROBS // 4
    assert limited(192, max_tokens=None, logprobs=0, is_open=True).max_tokens is None
