"""Exceptions of vLLM become errors of the request; exceptions of our own bugs do not."""

import pytest

from maritalk_vllm.engine.exception_mapping import map_vllm_exceptions
from maritalk_vllm.errors import EngineError, MariTalkError, NoSuchModel, RequestError, Unavailable

# Imports of vLLM cause warnings.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]


def test_vllm_errors_are_mapped() -> None:
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


def test_value_error_from_vllm_is_a_request_error() -> None:
    from vllm.renderers.chat_utils import ChatTemplateResolutionError
    from vllm.sampling_params import SamplingParams

    with pytest.raises(RequestError, match=r"cannot take this request: .*top_p"), map_vllm_exceptions():
        SamplingParams(top_p=7)
    assert issubclass(ChatTemplateResolutionError, ValueError)


def test_our_own_value_error_propagates() -> None:
    with pytest.raises(ValueError, match=r"^invalid literal") as caught, map_vllm_exceptions():
        int("x")
    assert not isinstance(caught.value, MariTalkError)


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), AssertionError("x")])
def test_other_exceptions_propagate(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, map_vllm_exceptions():
        raise error
    assert caught.value is error


def test_our_own_errors_propagate() -> None:
    with pytest.raises(NoSuchModel), map_vllm_exceptions():
        raise NoSuchModel("No.")
