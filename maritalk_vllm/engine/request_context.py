"""Context of one client request, on any route: the layers fill it in; the log, metrics and limits read it."""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .request_usage import RequestUsage
from .service_tier import ServiceTier

CONTEXT = "maritalk.context"
"""Entry of the ASGI scope with the RequestContext. The request log sets it; vLLM's own server has none."""


@dataclass(slots=True)
class RequestContext:
    """One client request. Times are seconds of the monotonic clock, from the end of the request's head on.

    `key_digest`, `key_name` and `key_scope` are those of a valid API key; `has_key`: whether the client sent one.
    `status` is 0 until the response starts. `rejection` is why our own code rejected the request, if it did, and
    `reason` the label of that in the metrics, if neither the status nor the phase of the server says it. `tier` decides
    the priority of what the engine computes for it. `has_tools`: whether the model may call tools.
    """

    request_id: str = ""
    started_at: float = field(default_factory=time.monotonic)
    first_byte_seconds: float | None = None
    status: int = 0
    rejection: str = ""
    reason: str = ""
    has_key: bool = False
    key_digest: str | None = None
    key_name: str = ""
    key_scope: str = ""
    tier: ServiceTier = ServiceTier.DEFAULT
    has_tools: bool = False
    usage: RequestUsage = field(default_factory=RequestUsage)

    @property
    def seconds(self) -> float:
        """Time since the request started."""
        return time.monotonic() - self.started_at


def context_of(scope: Mapping[str, Any]) -> RequestContext | None:
    """Return the context of a request; None without a request log, as in vLLM's own server."""
    context: RequestContext | None = scope.get(CONTEXT)
    return context


current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""Context of the current request, for the engine client alone: vLLM's routes call it without their scope, from tasks
of their own, which inherit this variable. The id of an engine request does not lead to the client's request either:
clients choose the header that it comes from, and on some routes the body may name another. The request log sets it."""
