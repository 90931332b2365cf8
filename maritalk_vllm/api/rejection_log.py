"""Log requests that were rejected, or that failed because of a bug."""

import logging
import sys

from starlette.types import Scope

from ..engine.exception_log import request_exceptions, truncated
from ..engine.request_context import context_of
from ..errors import EngineError, MariTalkError

# A child of vLLM's logger, which vLLM configures in its own server too; other loggers may have no handler.
_log = logging.getLogger("vllm.maritalk")


def record_rejection(scope: Scope, error: MariTalkError) -> None:
    """Record `error` for the request log, or log it at once if there is none, as in vLLM's own server."""
    if (context := context_of(scope)) is not None:
        context.rejection = truncated(str(error))
        return
    _log.info("%s %r: %d %r", scope["method"], scope["path"], error.http_status, truncated(str(error)))


def log_exception(scope: Scope) -> EngineError:
    """Log the exception being handled in one line, and return the error for the client."""
    exception = sys.exception()
    what = f"Internal error on {truncated(scope['path'])!r}:"
    if exception is not None and (line := request_exceptions.format_once(what, exception)):
        _log.error("%s", line)
    error = EngineError("The server failed on this request.", "Its log says why.")
    if (context := context_of(scope)) is not None:
        context.rejection = str(error)
    return error
