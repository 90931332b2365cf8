"""What vLLM raises on a request, and what a bug of ours raises: only the first is the fault of the client."""

import pytest

from maritalk_vllm.engine.exception_mapping import map_vllm_exceptions
from maritalk_vllm.errors import EngineError, MariTalkError, NoSuchModel, RequestError, Unavailable

# What vLLM imports warns of itself.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]


def test_vllms_own_errors() -> None:
    from vllm.exceptions import QueueOverflowError, RetryableRequestError, VLLMValidationError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    for error, kind in (
        (VLLMValidationError("No.", parameter="n"), RequestError),
        (QueueOverflowError(), Unavailable),
        (RetryableRequestError(), Unavailable),
        (EngineDeadError(), Unavailable),
        (EngineGenerateError(), EngineError),
    ):
        with pytest.raises(kind), map_vllm_exceptions():
            raise error


def test_a_value_error_of_vllms_is_the_requests() -> None:
    from vllm.renderers.chat_utils import ChatTemplateResolutionError
    from vllm.sampling_params import SamplingParams

    with pytest.raises(RequestError, match=r"cannot take this request: .*top_p"), map_vllm_exceptions():
        SamplingParams(top_p=7)
    assert issubclass(ChatTemplateResolutionError, ValueError)


def test_a_value_error_of_ours_is_a_bug() -> None:
    with pytest.raises(ValueError, match=r"^invalid literal") as caught, map_vllm_exceptions():
        int("x")
    assert not isinstance(caught.value, MariTalkError)


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), AssertionError("x")])
def test_other_bugs_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, map_vllm_exceptions():
        raise error
    assert caught.value is error


def test_our_own_errors_pass() -> None:
    with pytest.raises(NoSuchModel), map_vllm_exceptions():
        raise NoSuchModel("No.")
