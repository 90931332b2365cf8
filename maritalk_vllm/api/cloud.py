"""Routes of MariTalk's legacy cloud API, which predates its OpenAI-compatible one. Its clients still use it."""

import contextlib
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from ..engine.completion import Completion
from ..engine.generator import Generator, Parts
from .base_route import MariTalkRoute, json_response
from .cancellation import cancel_on_disconnect
from .cloud_schema import InferenceRequest, InferenceResponse, KnownModel, ModelsResponse, StreamText, answer, end
from .error_responses import ErrorShape
from .model_aliases import ModelNames
from .openapi import documented
from .request_parsing import read
from .sse import EventStream
from .sse_event import event


class CloudRoute(MariTalkRoute):
    """Clients of the cloud API read errors from the key `detail`."""

    error_shape = ErrorShape.CLOUD


GROUP = "MariTalk cloud, legacy"
"""The group of these routes in `/docs`."""

router = APIRouter(route_class=CloudRoute, prefix="/api/chat", tags=[GROUP])

_USAGE = {"completion_tokens": 15, "prompt_tokens": 3, "total_tokens": 18}


@router.post(
    "/inference",
    **documented(
        request=InferenceRequest,
        request_examples={
            "A conversation": {
                "messages": [{"role": "user", "content": "Oi!"}],
                "model": "sabia-2-medium",
                "max_tokens": 200,
            },
            "Complete a text": {
                "messages": "Resenha: Gostei muito!\nClasse:",
                "chat_mode": False,
                "do_sample": False,
                "stopping_tokens": ["\n"],
            },
            "As a stream": {"messages": "Oi!", "stream": True, "num_tokens_per_message": 4, "max_tokens": 200},
        },
        response=InferenceResponse,
        response_example={"answer": " Oi! Como posso ajudar você hoje?", "usage": _USAGE, "model": "sabia-2-medium"},
        stream_example='data: {"text": " Oi! Como posso"}\n\ndata: {"text": " ajudar voc\\u00ea hoje?"}\n\n'
        'event: end\ndata: {"completion_tokens": 15, "prompt_tokens": 3, "total_tokens": 18, '
        '"model": "sabia-2-medium"}\n\n',
        error_examples={
            400: "The request is not valid: temperature: expected float >= 0.0.",
            404: "There is no model 'gpt-4'. This server serves demo.",
            503: "The server has as many requests as it can take. Try again in a moment.",
        },
        error_key="detail",
    ),
)
async def inference(request: Request) -> Response:
    """Answer a conversation, or complete a text."""
    generator: Generator = request.app.state.maritalk_generator
    names: ModelNames = request.app.state.maritalk_names
    parameters = read(await request.body(), InferenceRequest, strict=False)
    model = names.resolve(parameters.model)
    prompt, sampling = parameters.content(), parameters.sampling()
    if parameters.stream:
        parts = generator.stream(prompt, sampling, parameters.num_tokens_per_message)
        return EventStream(_events(parts, model), CloudRoute.error_shape)
    completion = await cancel_on_disconnect(request.scope, request.receive, generator.complete(prompt, sampling))
    return json_response(answer(completion, model))


@router.get(
    "/models",
    **documented(response=ModelsResponse, response_example={"models": {"sabia-2-medium": {"context_length": 8000}}}),
)
async def models(request: Request) -> Response:
    """The served model, by its names. Any MariTalk or Sabiá name is taken as well."""
    generator: Generator = request.app.state.maritalk_generator
    names: ModelNames = request.app.state.maritalk_names
    entry = KnownModel(generator.context_length)
    return json_response(ModelsResponse(dict.fromkeys(names.served, entry)))


async def _events(parts: Parts, model: str) -> AsyncGenerator[str, None]:
    async with contextlib.aclosing(parts):
        async for part in parts:
            if isinstance(part, Completion):
                yield event(end(part, model), "end")
            else:
                yield event(StreamText(part.text))
