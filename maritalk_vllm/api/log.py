"""What is written of a refused request."""

import logging

from starlette.types import Scope

from ..engine.account import current
from ..errors import MariTalkError

# vLLM sets up the loggers below its own name, in its own server too; elsewhere nobody would hear us.
_log = logging.getLogger("vllm.maritalk")


def note(scope: Scope, error: MariTalkError) -> None:
    """For the line that is written of each request; where none is, in vLLM's own server, a line of its own."""
    if (account := current.get()) is not None:
        account.refusal = str(error)
        return
    _log.info("%s %r: %d %r", scope["method"], scope["path"], error.http_status, str(error))
