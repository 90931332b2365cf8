"""Routes whose errors have the shape that their clients show."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from ..errors import MariTalkError, MethodNotAllowed
from .openapi import JSON
from .rejection_log import fault, note


class MariTalkRoute(APIRoute):
    """Answers an error with an object that has one key, and writes one line about it to vLLM's log."""

    error_key: ClassVar[str]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What FastAPI calls. Our routes read their requests themselves: there is nothing in it for FastAPI to do."""
        return self.answer

    async def answer(self, request: Request) -> Response:
        """Answer a request; what goes wrong is an answer too, and no traceback's business but its own log's."""
        try:
            answer: Response = await self.endpoint(request)
            return answer
        except MariTalkError as error:
            note(request.scope, error)
            return self.refusal(error)
        except Exception:  # noqa: BLE001  (logged by fault)
            return self.refusal(fault(request.scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse another method than the route's in the same shape as any error."""
        if self.methods and scope["method"] not in self.methods:
            allowed = ", ".join(sorted(self.methods))
            error = MethodNotAllowed(f"{scope['method']} is not for {self.path}.", f"Use {allowed}.")
            note(scope, error)
            await self.refusal(error, {"Allow": allowed})(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    @classmethod
    def refusal(cls, error: MariTalkError, headers: dict[str, str] | None = None) -> Response:
        """An error as an answer."""
        if error.http_status == 503:
            headers = {"Retry-After": "1"}
        return Response(msgspec.json.encode({cls.error_key: str(error)}), error.http_status, headers, JSON)


def json_response(content: msgspec.Struct) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(content), media_type=JSON)
