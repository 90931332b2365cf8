"""What is written of a refused request."""

import logging

from starlette.types import Scope

from ..errors import MariTalkError

# vLLM sets up the loggers below its own name, in its own server too; elsewhere nobody would hear us.
_log = logging.getLogger("vllm.maritalk")


def note(scope: Scope, error: MariTalkError) -> None:
    """One line in vLLM's log; what the client wrote cannot make it two."""
    _log.info("%s %r: %d %r", scope["method"], scope["path"], error.http_status, str(error))
