"""The three routes of MariTalk Local."""

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response
from msgspec import UNSET

from ..engine.completion import Completion
from ..engine.generator import Generator, Parts
from ..settings import TimeUnit
from .base_route import MariTalkRoute, json_response
from .cancellation import cancel_on_disconnect
from .error_responses import ErrorShape
from .local_schema import (
    ChatGenerateRequest,
    GenerateRequest,
    GenerateResponse,
    LocalRequest,
    StatusResponse,
    StreamText,
    answer,
    strip_leading_space,
)
from .openapi import documented
from .request_parsing import read
from .sse import EventStream
from .sse_event import event


class LocalRoute(MariTalkRoute):
    """MariTalk Local clients read errors from the key `error`."""

    error_shape = ErrorShape.LOCAL


GROUP = "MariTalk Local"
"""The group of these routes in `/docs`."""

router = APIRouter(route_class=LocalRoute, tags=[GROUP])

_EVENTS = (
    'data: {"text": "1, 2"}\n\ndata: {"text": ", 3"}\n\n'
    'event: end\ndata: {"output": "1, 2, 3", "queue_time": 0, "prompt_time": 158, "generation_time": 60}\n\n'
)
_ERRORS = {
    400: "The prompt has 6000 tokens and max_tokens is 9000: together 15000, over this model's limit of 8192. "
    "Shorten the prompt or lower max_tokens.",
    503: "The server has as many requests as it can take. Try again in a moment.",
}


@router.get("/", **documented(response=StatusResponse, response_example={"status": "idle"}))
async def status(request: Request) -> Response:
    """Whether the server has work: `loading` until the model is there, then `idle` or `busy`."""
    generator: Generator = request.app.state.maritalk_generator
    return json_response(StatusResponse("busy" if generator.unfinished_requests else "idle"))


@router.post(
    "/generate",
    **documented(
        request=GenerateRequest,
        request_examples={
            "Complete a text": {"prompt": "Resenha: Gostei muito!\nClasse:", "max_tokens": 2, "do_sample": False},
            "As a stream": {"prompt": "Conte até três:", "max_tokens": 20, "stream": True},
            "Three answers": {"prompt": "Um bom nome para um peixe:", "max_tokens": 8, "n": 3, "return_usage": True},
        },
        response=GenerateResponse,
        response_example={"output": "positiva", "queue_time": 0, "prompt_time": 158, "generation_time": 9},
        stream_example=_EVENTS,
        error_examples=_ERRORS,
    ),
)
async def generate(request: Request) -> Response:
    """Complete a text."""
    return await _answer(request, read(await request.body(), GenerateRequest))


@router.post(
    "/chat/generate",
    **documented(
        request=ChatGenerateRequest,
        request_examples={
            "A conversation": {
                "messages": [
                    {"role": "user", "content": "sugira três nomes para a minha cachorra"},
                    {"role": "assistant", "content": "nina, bela e luna."},
                    {"role": "user", "content": "e para o meu peixe?"},
                ]
            },
            "As a stream": {"messages": [{"role": "user", "content": "Conte até três."}], "stream": True},
        },
        response=GenerateResponse,
        response_example={"output": "nani, bento e leo.", "queue_time": 0, "prompt_time": 185, "generation_time": 127},
        stream_example=_EVENTS,
        error_examples=_ERRORS,
    ),
)
async def chat_generate(request: Request) -> Response:
    """Answer a conversation, with the model's own chat template."""
    return await _answer(request, read(await request.body(), ChatGenerateRequest))


async def _answer(request: Request, parameters: GenerateRequest | ChatGenerateRequest) -> Response:
    generator: Generator = request.app.state.maritalk_generator
    unit: TimeUnit = request.app.state.maritalk_time_unit
    prompt, sampling = parameters.content(), parameters.sampling()
    if parameters.stream:
        parts = generator.stream(prompt, sampling, tokens_per_piece=1)
        return EventStream(_events(parts, parameters, unit), LocalRoute.error_shape)
    completion = await cancel_on_disconnect(request.scope, request.receive, generator.complete(prompt, sampling))
    return json_response(answer(completion, parameters, unit))


async def _events(parts: Parts, parameters: LocalRequest, unit: TimeUnit) -> AsyncGenerator[str, None]:
    started: set[int] = set()
    async with contextlib.aclosing(parts):
        async for part in parts:
            if isinstance(part, Completion):
                yield event(answer(part, parameters, unit), "end")
                continue
            text = part.text if part.index in started else strip_leading_space(part.text)
            started.add(part.index)
            if text:
                yield event(StreamText(text=text, index=part.index if parameters.n > 1 else UNSET))
