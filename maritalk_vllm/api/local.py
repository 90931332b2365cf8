"""The three routes of MariTalk Local."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from ..engine.generate import Generator
from ..errors import MariTalkError
from ..settings import TimeUnit
from .hangup import unless_gone
from .schemas import ChatGenerateRequest, GenerateRequest, answer, read

JSON = "application/json"
"""Without a charset: clients since 0.1.6 show the message of an error only if the type is exactly this."""


class LocalRoute(APIRoute):
    """A route whose errors have the shape that MariTalk Local clients show: an object with a key `error`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with our errors turned into answers."""
        handle = super().get_route_handler()

        async def handle_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except MariTalkError as error:
                return error_response(error)

        return handle_errors


def error_response(error: MariTalkError) -> Response:
    """An error as MariTalk Local clients read it."""
    headers = {"Retry-After": "1"} if error.http_status == 503 else None
    return Response(msgspec.json.encode({"error": str(error)}), error.http_status, headers, JSON)


router = APIRouter(route_class=LocalRoute, tags=["MariTalk Local"])


@router.get("/")
async def status(request: Request) -> Response:
    """Whether the server has work: `idle` or `busy`."""
    generator: Generator = request.app.state.maritalk_generator
    state = "busy" if generator.unfinished_requests else "idle"
    return Response(msgspec.json.encode({"status": state}), media_type=JSON)


@router.post("/generate")
async def generate(request: Request) -> Response:
    """Go on with a text."""
    return await _answer(request, read(await request.body(), GenerateRequest))


@router.post("/chat/generate")
async def chat_generate(request: Request) -> Response:
    """Answer a conversation, with the model's own chat template."""
    return await _answer(request, read(await request.body(), ChatGenerateRequest))


async def _answer(request: Request, asked: GenerateRequest | ChatGenerateRequest) -> Response:
    generator: Generator = request.app.state.maritalk_generator
    unit: TimeUnit = request.app.state.maritalk_time_unit
    completion = await unless_gone(request.receive, generator.complete(asked.content(), asked.sampling()))
    return Response(answer(completion, unit), media_type=JSON)
