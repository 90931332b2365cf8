"""A bug of the server is one line in the log, however deep the traceback and however often it occurs."""

import logging
import sys
import time

import pytest

from maritalk_vllm.api import rejection_log
from maritalk_vllm.engine import exception_log
from maritalk_vllm.engine.exception_log import ExceptionLog
from maritalk_vllm.engine.request_context import CONTEXT, RequestContext
from maritalk_vllm.errors import RequestError

WHAT = "A fault, on '/generate':"


def fail_at_depth(depth: int, message: str = "x" * 100_000 + "\nanother line") -> None:
    if depth:
        fail_at_depth(depth - 1, message)
    raise RuntimeError(message)


def raised(depth: int = 100, message: str = "broken") -> RuntimeError:
    try:
        fail_at_depth(depth, message)
    except RuntimeError as error:
        return error
    raise AssertionError


def test_line_has_the_type_and_the_location() -> None:
    line = ExceptionLog().format_once(WHAT, raised(message="x" * 100_000 + "\nanother line"))
    assert "\n" not in line
    assert len(line) < 1000
    assert line.startswith(f"{WHAT} RuntimeError: 'xxx")
    assert " at engine/test_exception_log.py:" in line and line.endswith(" in fail_at_depth")


def test_same_line_is_logged_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    log = ExceptionLog()
    assert [bool(log.format_once(WHAT, raised())) for _ in range(1000)] == [True] + [False] * 999
    assert log.format_once(WHAT, raised(message="other"))
    now += 61
    assert log.format_once(WHAT, raised()).endswith("(999 more since the last such line)")


def test_memory_is_bounded() -> None:
    log = ExceptionLog()
    assert all(log.format_once(WHAT, ValueError(number)) for number in range(2 * exception_log.MAX_LINES))
    assert len(log._written) == exception_log.MAX_LINES


def test_long_rejection_is_truncated() -> None:
    scope = {"path": "/generate", "method": "POST", CONTEXT: (context := RequestContext())}
    rejection_log.record_rejection(scope, RequestError("role: " + "x" * 15_000_000))
    assert len(context.rejection) == exception_log.MAX_TEXT_CHARACTERS + len("...")


def record(name: str, error: BaseException) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.LogRecord(
            name, logging.ERROR, "file", 1, "Exception in %s\n", ("ASGI application",), sys.exc_info()
        )


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
def test_filter_shortens_tracebacks_of_other_loggers() -> None:
    from vllm.exceptions import VLLMValidationError

    log = ExceptionLog()
    for name in ("uvicorn.error", "vllm.entrypoints.openai.chat_completion.serving"):
        assert log.filter(log_record := record(name, RuntimeError(name)))
        assert log_record.exc_info is None
        assert log_record.getMessage().startswith(f"Exception in ASGI application RuntimeError: {name!r} at ")
        assert not log.filter(record(name, RuntimeError(name)))
    assert log.filter(log_record := record("vllm.entrypoints.anthropic.api_router", VLLMValidationError("too long")))
    assert (log_record.exc_info, log_record.getMessage()) == (None, "Exception in ASGI application\n")
    # uvicorn's message does not name the error that ended a response.
    assert log.filter(log_record := record("uvicorn.error", VLLMValidationError("too long")))
    assert "VLLMValidationError: 'too long' at " in log_record.getMessage()
    assert log.filter(log_record := record("vllm.v1.engine.async_llm", RuntimeError("dead")))
    assert log_record.exc_info is not None
