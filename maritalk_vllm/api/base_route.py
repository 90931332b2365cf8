"""Base class of our routes: error responses in the form that their clients display."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from ..errors import MariTalkError, MethodNotAllowed
from .openapi import JSON
from .rejection_log import log_exception, record_rejection


class MariTalkRoute(APIRoute):
    """A route whose error responses are objects with the single key `error_key`. Errors are logged in one line."""

    error_key: ClassVar[str]

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
        if error.http_status == 503:
            headers = {"Retry-After": "1"}
        return Response(msgspec.json.encode({cls.error_key: str(error)}), error.http_status, headers, JSON)


def json_response(content: msgspec.Struct) -> Response:
    """Build a JSON response."""
    return Response(msgspec.json.encode(content), media_type=JSON)
