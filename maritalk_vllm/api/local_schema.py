"""Request and response schemas of MariTalk Local, from version 1.0 to the newest client."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..engine.admission import MAX_ANSWERS
from ..engine.completion import Completion
from ..engine.generator import Prompt
from ..engine.sampling import DEFAULT_TEMPERATURE, DEFAULT_TOP_P, Sampling
from ..settings import TimeUnit
from .request_parsing import read
from .schema_fields import (
    ChatMessage,
    DoSample,
    MaxTokens,
    RepetitionPenalty,
    Stops,
    Stream,
    Temperature,
    Text,
    TopP,
    Usage,
    conversation,
    reject_nul,
    stops,
)

OtherRouteField = Annotated[
    Any,
    msgspec.Meta(description="Field of the other route; rejected on this one.", extra_json_schema={"type": "null"}),
]


class LocalRequest(msgspec.Struct, kw_only=True):
    """Fields of both routes, with the defaults that every published client sends.

    `seed` is absent before client 0.1.7 and null by default since. Clients send `temperature` and `top_p` even with
    `do_sample` false, which ignores them. The fields after `seed` are extensions: MariTalk Local never had them.
    """

    do_sample: DoSample = True
    temperature: Temperature = DEFAULT_TEMPERATURE
    top_p: TopP = DEFAULT_TOP_P
    max_tokens: MaxTokens = 512
    stop_sequences: Stops | None = None
    seed: (
        Annotated[
            int,
            msgspec.Meta(
                ge=-(2**63), le=2**63 - 1, description="The same seed, prompt and settings give the same answer."
            ),
        ]
        | None
    ) = None
    stream: Stream = False
    n: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_ANSWERS, description="How many answers to give: `outputs` has them all.")
    ] = 1
    top_k: (
        Annotated[
            int,
            msgspec.Meta(
                ge=-1, le=2**31 - 1, description="Sample from this many of the likeliest tokens; 0 or -1: all."
            ),
        ]
        | None
    ) = None
    repetition_penalty: RepetitionPenalty | None = None
    return_usage: Annotated[
        bool, msgspec.Meta(description="Add `usage` (tokens in and out) and `finish_reason` to the answer.")
    ] = False

    def sampling(self) -> Sampling:
        """The sampling options. Raises RequestError."""
        return Sampling(
            temperature=self.temperature if self.do_sample else 0.0,
            top_p=self.top_p if self.do_sample else 1.0,
            top_k=max(self.top_k or 0, 0) if self.do_sample else 0,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            max_tokens=self.max_tokens,
            stop=stops("stop_sequences", self.stop_sequences),
            seed=self.seed,
            n=self.n,
        )


def field_value(name: str, value: object) -> object:
    """Parse `value` as the field `name` of a request. Raises RequestError if it is invalid."""
    return getattr(read(msgspec.json.encode({name: value}), LocalRequest), name)


class GenerateRequest(LocalRequest, kw_only=True):
    """Body of `POST /generate`: a text to complete."""

    prompt: Text
    messages: OtherRouteField = None

    def __post_init__(self) -> None:
        _reject_both(self.messages)

    def content(self) -> Prompt:
        """The prompt. Raises RequestError."""
        return reject_nul("prompt", self.prompt)


class ChatGenerateRequest(LocalRequest, kw_only=True):
    """Body of `POST /chat/generate`: a conversation to answer, with the model's own chat template."""

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    prompt: OtherRouteField = None

    def __post_init__(self) -> None:
        _reject_both(self.prompt)

    def content(self) -> Prompt:
        """The prompt. Raises RequestError."""
        return conversation(self.messages)


def _reject_both(other: object) -> None:
    if other is not None:
        raise ValueError("prompt and messages were both given: POST /generate takes prompt, /chat/generate messages")


class GenerateResponse(msgspec.Struct, kw_only=True):
    """Response of both routes. Times: whole milliseconds as in the reference, or float seconds as sent from 2024 on.

    `outputs` and `finish_reasons` are present if `n` is over 1, the usage with `return_usage`. The last event of a
    stream has the same fields.
    """

    output: str
    queue_time: int | float
    prompt_time: int | float
    generation_time: int | float
    outputs: list[str] | UnsetType = UNSET
    usage: Usage | UnsetType = UNSET
    finish_reason: str | UnsetType = UNSET
    finish_reasons: list[str] | UnsetType = UNSET


class StatusResponse(msgspec.Struct):
    """Response of `GET /`. Clients since 0.2.5 poll while it is `loading`."""

    status: Literal["loading", "idle", "busy"]


class StreamText(msgspec.Struct, kw_only=True):
    """Event of a stream: the next piece of the answer. With `n` over 1, `index` is the number of the answer."""

    text: str
    index: int | UnsetType = UNSET


def answer(completion: Completion, request: LocalRequest, unit: TimeUnit) -> GenerateResponse:
    """Build the response to `request`, with times in `unit`."""
    outputs = [strip_leading_space(choice.text) for choice in completion.choices]
    reasons = [choice.finish_reason for choice in completion.choices]
    is_multiple, with_usage = request.n > 1, request.return_usage
    return GenerateResponse(
        output=outputs[0],
        queue_time=_time(completion.queue_time, unit),
        prompt_time=_time(completion.prompt_time, unit),
        generation_time=_time(completion.generation_time, unit),
        outputs=outputs if is_multiple else UNSET,
        usage=Usage.of(completion) if with_usage else UNSET,
        finish_reason=reasons[0] if with_usage else UNSET,
        finish_reasons=reasons if is_multiple and with_usage else UNSET,
    )


def strip_leading_space(text: str) -> str:
    """Remove the leading space of an answer, as the original server did: 'positiva', not ' positiva'.

    Prompts end before a word, so the first token of the answer often includes the space before that word.
    """
    return text.removeprefix(" ")


def _time(seconds: float, unit: TimeUnit) -> int | float:
    return round(seconds * 1000) if unit is TimeUnit.MILLISECONDS else round(seconds, 6)
