"""A bug of the server's in one line of the log, however deep it lies and however often it is met."""

import logging
import sys
import time

import pytest

from maritalk_vllm.api import rejection_log
from maritalk_vllm.engine import exception_log
from maritalk_vllm.engine.exception_log import ExceptionLog
from maritalk_vllm.engine.request_usage import RequestUsage, current
from maritalk_vllm.errors import RequestError

MET = "A fault, on '/generate':"


def sink(depth: int, message: str = "x" * 100_000 + "\nanother line") -> None:
    if depth:
        sink(depth - 1, message)
    raise RuntimeError(message)


def met(depth: int = 100, message: str = "broken") -> RuntimeError:
    try:
        sink(depth, message)
    except RuntimeError as error:
        return error
    raise AssertionError


def test_one_line_with_the_kind_and_the_place() -> None:
    line = ExceptionLog().format_once(MET, met(message="x" * 100_000 + "\nanother line"))
    assert "\n" not in line
    assert len(line) < 1000
    assert line.startswith(f"{MET} RuntimeError: 'xxx")
    assert " at engine/test_exception_log.py:" in line and line.endswith(" in sink")


def test_the_same_line_comes_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    kept = ExceptionLog()
    assert [bool(kept.format_once(MET, met())) for _ in range(1000)] == [True] + [False] * 999
    assert kept.format_once(MET, met(message="other"))
    now += 61
    assert kept.format_once(MET, met()).endswith("(999 more since the last such line)")


def test_many_different_ones_take_bounded_memory() -> None:
    kept = ExceptionLog()
    assert all(kept.format_once(MET, ValueError(number)) for number in range(2 * exception_log.MAX_LINES))
    assert len(kept._written) == exception_log.MAX_LINES


def test_a_refusal_that_repeats_its_request_is_cut() -> None:
    token = current.set(account := RequestUsage())
    try:
        rejection_log.record_rejection(
            {"path": "/generate", "method": "POST"}, RequestError("role: " + "x" * 15_000_000)
        )
    finally:
        current.reset(token)
    assert len(account.rejection) == exception_log.MAX_TEXT_CHARACTERS + len("...")


def record(name: str, error: BaseException) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.LogRecord(
            name, logging.ERROR, "file", 1, "Exception in %s\n", ("ASGI application",), sys.exc_info()
        )


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_what_others_log_of_a_request_is_one_line_too() -> None:
    from vllm.exceptions import VLLMValidationError

    kept = ExceptionLog()
    for name in ("uvicorn.error", "vllm.entrypoints.openai.chat_completion.serving"):
        assert kept.filter(made := record(name, RuntimeError(name)))
        assert made.exc_info is None
        assert made.getMessage().startswith(f"Exception in ASGI application RuntimeError: {name!r} at ")
        assert not kept.filter(record(name, RuntimeError(name)))
    assert kept.filter(made := record("vllm.entrypoints.anthropic.api_router", VLLMValidationError("too long")))
    assert (made.exc_info, made.getMessage()) == (None, "Exception in ASGI application\n")
    assert kept.filter(made := record("vllm.v1.engine.async_llm", RuntimeError("dead")))
    assert made.exc_info is not None
