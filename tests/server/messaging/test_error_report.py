"""Errors of other processes and nodes."""

import os

import msgspec

from maritalk_vllm.errors import DoesNotFit, EngineError, MariTalkError, UsageError, WeightsError
from maritalk_vllm.server.messaging.error_report import ErrorReport


def sent(report: ErrorReport) -> ErrorReport:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=ErrorReport)


def test_an_error_keeps_its_class_and_exit_code() -> None:
    for error in (WeightsError("a", "b"), UsageError("c"), DoesNotFit("d")):
        copy = sent(ErrorReport.of(error)).to_error()
        assert type(copy) is type(error)
        assert (copy.message, copy.hint, copy.exit_code) == (error.message, error.hint, error.exit_code)


def test_an_engine_error_keeps_the_length_that_fits() -> None:
    for length in (5008, None):
        copy = sent(ErrorReport.of(EngineError("a", max_model_len=length))).to_error()
        assert isinstance(copy, EngineError)
        assert copy.max_model_len == length


def test_an_error_of_an_unknown_class_keeps_its_message() -> None:
    copy = ErrorReport("FromTheFuture", "x", "y").to_error()
    assert type(copy) is MariTalkError
    assert str(copy) == "x y"


def test_an_error_with_a_file_name_that_is_no_utf_8_arrives() -> None:
    error = WeightsError(os.fsdecode(b"/a\xe7 cannot be read."))
    assert sent(ErrorReport.of(error)).message == "/a\\udce7 cannot be read."
