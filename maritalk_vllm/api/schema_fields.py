"""Request fields that MariTalk's own APIs share, with their limits and descriptions."""

from typing import Annotated, Literal, Self

import msgspec

from ..engine.completion import Completion
from ..engine.sampling import Message
from ..errors import RequestError

_WITHOUT_NUL = {"pattern": "^[^\\u0000]*$"}

Text = Annotated[str, msgspec.Meta(extra_json_schema=_WITHOUT_NUL)]
"""Call `reject_nul` on each: msgspec's own pattern check would not give a readable error."""

DoSample = Annotated[
    bool, msgspec.Meta(description="`false` takes the most likely token each time, regardless of the temperature.")
]
# No upper limit: the benchmark of the original server sends a temperature of 3.
Temperature = Annotated[float, msgspec.Meta(ge=0, description="0 or more; higher is more random.")]
TopP = Annotated[
    float,
    msgspec.Meta(gt=0, le=1, description="Sample from the likeliest tokens whose probabilities add up to this."),
]
MaxTokens = Annotated[
    int,
    msgspec.Meta(ge=1, description="Longest answer, in tokens. With the prompt, it has to fit into the context."),
]
RepetitionPenalty = Annotated[
    float,
    msgspec.Meta(
        ge=0.01, le=100, description="Above 1 makes tokens of the text so far less likely, below 1 more likely."
    ),
]
Stops = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, extra_json_schema=_WITHOUT_NUL)]],
    msgspec.Meta(max_length=64, description="The answer ends before the first of these to occur."),
]
Stream = Annotated[bool, msgspec.Meta(description="Send the answer as server-sent events while it is generated.")]


class ChatMessage(msgspec.Struct):
    """One turn of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: Text


class Usage(msgspec.Struct):
    """Tokens of a request, summed over its answers."""

    completion_tokens: int
    prompt_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, completion: Completion) -> Self:
        """The usage of one request."""
        tokens = completion.completion_tokens, completion.prompt_tokens
        return cls(*tokens, sum(tokens))


def conversation(messages: list[ChatMessage]) -> list[Message]:
    """Convert messages to the engine's type. Raises RequestError for a NUL character."""
    return [
        Message(message.role, reject_nul(f"messages[{number}].content", message.content))
        for number, message in enumerate(messages)
    ]


def stops(field: str, sequences: list[str] | None) -> tuple[str, ...]:
    """Convert stop sequences to the engine's type. Raises RequestError for a NUL character."""
    return tuple(reject_nul(f"{field}[{number}]", sequence) for number, sequence in enumerate(sequences or ()))


def reject_nul(field: str, text: str) -> str:
    """Return `text` unchanged. Raises RequestError for a NUL character: a sign of binary data."""
    position = text.find("\0")
    if position >= 0:
        raise RequestError(f"The request is not valid: {field}: character {position} is NUL (U+0000).", "Send text.")
    return text
