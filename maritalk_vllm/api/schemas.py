"""The MariTalk Local wire: what is posted and what is answered, version 1.0 to the newest client."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from ..engine.generate import Completion, Message, Sampling
from ..errors import RequestError
from ..settings import TimeUnit

_MAX_STOP_SEQUENCES = 64

StopSequence = Annotated[str, msgspec.Meta(min_length=1)]


class _Request(msgspec.Struct, kw_only=True):
    """Fields that both routes share, with the defaults that every published client sends.

    `seed` is absent before client 0.1.7 and null by default since. `temperature` and `top_p` come even with
    `do_sample` false, and are then without effect. The benchmark that the old server was measured with sends
    a temperature of 3, so there is no upper limit.
    """

    do_sample: bool = True
    temperature: Annotated[float, msgspec.Meta(ge=0)] = 0.7
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] = 512
    stop_sequences: Annotated[list[StopSequence], msgspec.Meta(max_length=_MAX_STOP_SEQUENCES)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None = None

    def sampling(self) -> Sampling:
        """How the engine is to choose tokens."""
        return Sampling(
            temperature=self.temperature if self.do_sample else 0.0,
            top_p=self.top_p if self.do_sample else 1.0,
            max_tokens=self.max_tokens,
            stop=tuple(self.stop_sequences or ()),
            seed=self.seed,
        )


class GenerateRequest(_Request, kw_only=True):
    """Body of `POST /generate`: a text to go on with."""

    prompt: str

    def content(self) -> str:
        """What the model is given."""
        return self.prompt


class ChatMessage(msgspec.Struct):
    """One turn. The reference shows user and assistant; system is the model's template's business."""

    role: Literal["user", "assistant", "system"]
    content: str


class ChatGenerateRequest(_Request, kw_only=True):
    """Body of `POST /chat/generate`: a conversation to answer."""

    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]

    def content(self) -> Sequence[Message]:
        """What the model is given."""
        return [Message(message.role, message.content) for message in self.messages]


class GenerateResponse(msgspec.Struct):
    """Answer of both routes: whole milliseconds as the reference shows, or float seconds as servers sent from 2024."""

    output: str
    queue_time: int | float
    prompt_time: int | float
    generation_time: int | float


_Kind = TypeVar("_Kind", GenerateRequest, ChatGenerateRequest)


def read(body: bytes, kind: type[_Kind]) -> _Kind:
    """A request from the body of a post, whatever its Content-Type says. Raises RequestError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(f"The request is not valid: {_explain(str(error))}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body is not JSON: {error}.") from error


def answer(completion: Completion, unit: TimeUnit) -> bytes:
    """The body of an answer, as JSON."""
    times = (completion.queue_time, completion.prompt_time, completion.generation_time)
    if unit is TimeUnit.MILLISECONDS:
        shown: tuple[int | float, ...] = tuple(round(time * 1000) for time in times)
    else:
        shown = tuple(round(time, 6) for time in times)
    # Prompts end where a word begins, so the model's first token often carries the space before it. The old server
    # never showed that space: 'positiva', not ' positiva'.
    return msgspec.json.encode(GenerateResponse(completion.text.removeprefix(" "), *shown))


def _explain(message: str) -> str:
    """msgspec's message with the field first: "Expected `int`, got `str` - at `$.seed`" -> "seed: expected ..."."""
    text, _, path = message.replace("`", "").partition(" - at $")
    text = text[0].lower() + text[1:]
    return f"{path.lstrip('.')}: {text}" if path else text
