"""Fields that the requests of MariTalk's own APIs share, with their limits and what they mean."""

from typing import Annotated, Literal, Self

import msgspec

from ..engine.completion import Completion
from ..engine.sampling import Message
from ..errors import RequestError

_WITHOUT_NUL = {"pattern": "^[^\\u0000]*$"}

Text = Annotated[str, msgspec.Meta(extra_json_schema=_WITHOUT_NUL)]
"""Whoever reads one calls `without_nul`: msgspec's own check of a pattern would not say it in a sentence."""

DoSample = Annotated[
    bool, msgspec.Meta(description="`false` takes the likeliest token each time, whatever the temperature says.")
]
# The benchmark that the old server was measured with sends a temperature of 3, so there is no upper limit.
Temperature = Annotated[float, msgspec.Meta(ge=0, description="0 or more; higher is more random.")]
TopP = Annotated[
    float,
    msgspec.Meta(gt=0, le=1, description="The likeliest tokens of this probability together are drawn from."),
]
MaxTokens = Annotated[
    int,
    msgspec.Meta(ge=1, description="Longest answer, in tokens. With the prompt, it has to fit into the context."),
]
RepetitionPenalty = Annotated[
    float, msgspec.Meta(ge=0.01, le=100, description="Over 1 makes what was already said less likely, under 1 more.")
]
Stops = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, extra_json_schema=_WITHOUT_NUL)]],
    msgspec.Meta(max_length=64, description="The answer ends before the first of these."),
]
Stream = Annotated[bool, msgspec.Meta(description="Send the answer as server-sent events while it is generated.")]


class ChatMessage(msgspec.Struct):
    """One turn of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: Text


class Usage(msgspec.Struct):
    """What a request came to, in tokens; all of its answers together."""

    completion_tokens: int
    prompt_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, completion: Completion) -> Self:
        """The figures of one request."""
        spent = completion.completion_tokens, completion.prompt_tokens
        return cls(*spent, sum(spent))


def conversation(messages: list[ChatMessage]) -> list[Message]:
    """The turns, as the engine takes them. Raises RequestError for one with a NUL character."""
    return [
        Message(message.role, without_nul(f"messages[{number}].content", message.content))
        for number, message in enumerate(messages)
    ]


def stops(field: str, sequences: list[str] | None) -> tuple[str, ...]:
    """The sequences that end an answer, as the engine takes them. Raises RequestError for one with a NUL character."""
    return tuple(without_nul(f"{field}[{number}]", sequence) for number, sequence in enumerate(sequences or ()))


def without_nul(field: str, text: str) -> str:
    """`text` itself. Raises RequestError if it has a NUL character: binary data that was taken for text."""
    position = text.find("\0")
    if position >= 0:
        raise RequestError(f"The request is not valid: {field}: character {position} is NUL (U+0000).", "Send text.")
    return text
