"""Base class of our routes: error responses in the form that their clients display."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from ..errors import MariTalkError, MethodNotAllowed
from .error_responses import ErrorShape, error_response
from .media_types import JSON
from .rejection_log import log_exception, record_rejection


class MariTalkRoute(APIRoute):
    """A route whose errors have the form `error_shape`, and are logged in one line."""

    error_shape: ClassVar[ErrorShape]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Bypass FastAPI's request parsing and validation: our routes do their own."""
        return self.answer

    async def answer(self, request: Request) -> Response:
        """Respond to a request. Exceptions become error responses, and the log has one line instead of a traceback."""
        try:
            response: Response = await self.endpoint(request)
            return response
        except MariTalkError as error:
            record_rejection(request.scope, error)
            return self.error_response(error)
        except Exception:  # noqa: BLE001  (logged by log_exception)
            return self.error_response(log_exception(request.scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. Another method gets an error response in the same form as other errors."""
        if self.methods and scope["method"] not in self.methods:
            allowed = ", ".join(sorted(self.methods))
            error = MethodNotAllowed(f"{scope['method']} is not for {self.path}.", f"Use {allowed}.")
            record_rejection(scope, error)
            await self.error_response(error, {"Allow": allowed})(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    @classmethod
    def error_response(cls, error: MariTalkError, headers: dict[str, str] | None = None) -> Response:
        """Build the response to a request that failed with `error`."""
        return error_response(cls.error_shape, error, headers)


def json_response(content: msgspec.Struct) -> Response:
    """Build a JSON response."""
    return Response(msgspec.json.encode(content), media_type=JSON)
