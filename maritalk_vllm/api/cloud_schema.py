"""Schemas of MariTalk's legacy cloud API, as used by clients 0.0.3 to the newest, and by third-party clients."""

from typing import Annotated

import msgspec

from ..engine.completion import Completion
from ..engine.generator import Prompt
from ..engine.sampling import DEFAULT_TEMPERATURE, DEFAULT_TOP_P, Message, Sampling
from ..errors import RequestError
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


class InferenceRequest(msgspec.Struct, kw_only=True):
    """Body of `POST /api/chat/inference`.

    The first clients sent booleans as strings, and `use_chat_template` for `chat_mode`; `model` is absent before
    April 2024. `max_tokens` is null since client 0.2.7: the answer may fill the model's context.
    """

    messages: Annotated[
        Text | Annotated[list[ChatMessage], msgspec.Meta(min_length=1)],
        msgspec.Meta(description="A conversation, or one text: the user's message, or a prompt to complete."),
    ]
    model: (
        Annotated[str, msgspec.Meta(description="The served model, by its own or any MariTalk or Sabiá name.")] | None
    ) = None
    chat_mode: Annotated[
        bool, msgspec.Meta(description="`false` completes the text in `messages`, without the chat template.")
    ] = True
    use_chat_template: Annotated[bool, msgspec.Meta(description="The name of `chat_mode` in 2023.")] | None = None
    do_sample: DoSample = True
    temperature: Temperature = DEFAULT_TEMPERATURE
    top_p: TopP = DEFAULT_TOP_P
    max_tokens: MaxTokens | None = 512
    repetition_penalty: RepetitionPenalty | None = None
    stopping_tokens: Stops | None = None
    stream: Stream = False
    num_tokens_per_message: Annotated[
        int, msgspec.Meta(ge=1, le=2**31 - 1, description="Number of tokens in each event of a stream.")
    ] = 4

    def content(self) -> Prompt:
        """The prompt. Raises RequestError."""
        chat = self.chat_mode if self.use_chat_template is None else self.use_chat_template
        if not isinstance(self.messages, str):
            if not chat:
                raise RequestError(
                    "The request is not valid: messages is a list, and with chat_mode false it has to be one text.",
                    "Send the text, or leave chat_mode out.",
                )
            return conversation(self.messages)
        text = reject_nul("messages", self.messages)
        return [Message("user", text)] if chat else text

    def sampling(self) -> Sampling:
        """The sampling options. Raises RequestError."""
        return Sampling(
            temperature=self.temperature if self.do_sample else 0.0,
            top_p=self.top_p if self.do_sample else 1.0,
            max_tokens=self.max_tokens,
            stop=stops("stopping_tokens", self.stopping_tokens),
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
        )


class InferenceResponse(msgspec.Struct, kw_only=True):
    """Response of `POST /api/chat/inference`. The text may begin with a space, as in the original API."""

    answer: str
    usage: Usage
    model: str


class StreamText(msgspec.Struct):
    """Event of a stream: the next piece of the answer."""

    text: str


class StreamEnd(Usage):
    """Last event of a stream, of type `end`. The usage fields are not nested."""

    model: str


class KnownModel(msgspec.Struct):
    """One entry of the list of models."""

    context_length: int


class ModelsResponse(msgspec.Struct):
    """Response of `GET /api/chat/models`: the served models by name."""

    models: dict[str, KnownModel]


def answer(completion: Completion, model: str) -> InferenceResponse:
    """Build the response without streaming."""
    return InferenceResponse(answer=completion.choices[0].text, usage=Usage.of(completion), model=model)


def end(completion: Completion, model: str) -> StreamEnd:
    """Build the last event of a stream."""
    usage = Usage.of(completion)
    return StreamEnd(usage.completion_tokens, usage.prompt_tokens, usage.total_tokens, model)
