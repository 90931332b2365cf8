"""What is written of a request that was refused, or on which the server failed."""

import logging
import sys

from starlette.types import Scope

from ..engine.exception_log import faults, shortened
from ..engine.request_usage import current
from ..errors import EngineError, MariTalkError

# vLLM sets up the loggers below its own name, in its own server too; elsewhere no handler takes our lines.
_log = logging.getLogger("vllm.maritalk")


def note(scope: Scope, error: MariTalkError) -> None:
    """For the line that is written of each request; where none is, in vLLM's own server, a line of its own."""
    if (account := current.get()) is not None:
        account.refusal = shortened(str(error))
        return
    _log.info("%s %r: %d %r", scope["method"], scope["path"], error.http_status, shortened(str(error)))


def fault(scope: Scope) -> EngineError:
    """The error for a client whose request met a bug: the exception being handled, of which the log has one line."""
    met = sys.exception()
    if met is not None and (line := faults.line(f"A fault of the server's, on {shortened(scope['path'])!r}:", met)):
        _log.error("%s", line)
    error = EngineError("The server failed on this request.", "Its log says why.")
    if (account := current.get()) is not None:
        account.refusal = str(error)
    return error
