"""A prompt to the engine and its answers, through vLLM's EngineClient alone."""

import contextlib
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace

from ..errors import EngineError, RequestError, too_long
from .completion import Completion, OutputCollector, Piece
from .exception_mapping import map_vllm_exceptions
from .prompt_limits import check_characters, check_number, most_characters
from .sampling import Message, Sampling

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient
    from vllm.inputs import EngineInput
    from vllm.sampling_params import SamplingParams

Prompt = str | Sequence[Message]
"""A text to go on with, or a chat to answer with the chat template."""

_SHORT = 2048
"""Characters of a prompt that become tokens sooner than another thread could begin with it."""

Parts = AsyncGenerator[Piece | Completion, None]
"""Pieces of a request's answers, and last the whole."""


class Generator:
    """Answers prompts with a vLLM engine. `chat_template` (a file or the template itself) replaces the model's own."""

    def __init__(self, client: "EngineClient", chat_template: str | None = None) -> None:
        from vllm.renderers import ChatParams
        from vllm.renderers.chat_utils import load_chat_template

        self._client = client
        self._most_characters = most_characters(client)
        self._chat = ChatParams(
            chat_template=load_chat_template(chat_template), chat_template_kwargs={"add_generation_prompt": True}
        )

    @property
    def unfinished_requests(self) -> int:
        """How many requests wait or run, whichever route they came by."""
        return int(self._client.get_num_unfinished_requests())

    @property
    def context_length(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        return int(self._client.model_config.max_model_len)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """The whole answer. Cancelled, it frees its place in the engine. Raises as `stream` does."""
        async with contextlib.aclosing(self.stream(prompt, sampling)) as parts:
            async for part in parts:
                if isinstance(part, Completion):
                    return part
        raise EngineError("The engine ended the request without an answer.")

    async def stream(self, prompt: Prompt, sampling: Sampling, tokens_per_piece: int | None = None) -> Parts:
        """The answer in pieces of about so many tokens, or else in one, and last the whole.

        Closed or cancelled, it frees its place in the engine. Raises RequestError for a prompt that the model cannot
        take, Unavailable and EngineError.
        """
        with map_vllm_exceptions():
            rendered = await self._render(prompt)
            parameters = self._parameters(sampling, len(rendered["prompt_token_ids"]), tokens_per_piece)
            tally = OutputCollector(sampling.n)
            outputs = self._client.generate(
                rendered, parameters, request_id=uuid.uuid4().hex, trace_headers=self._trace_headers()
            )
            async with contextlib.aclosing(outputs):
                async for output in outputs:
                    for piece in tally.add(output):
                        yield piece
                    if output.finished:
                        yield tally.completion(output)

    @staticmethod
    def _trace_headers() -> dict[str, str] | None:
        """The span that is open, in the form in which vLLM takes it from a request's headers; None without one."""
        headers: dict[str, str] = {}
        if trace.get_current_span().is_recording():
            propagate.inject(headers)
        return headers or None

    async def _render(self, prompt: Prompt) -> "EngineInput":
        """The prompt as tokens."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        renderer = self._client.renderer
        characters = len(prompt) if isinstance(prompt, str) else sum(len(message.content) for message in prompt)
        if not isinstance(prompt, str):
            check_number("messages", len(prompt), self.context_length)
        # Before a template is filled: of a chat, that makes the tokens, too.
        check_characters([characters], self.context_length, self._most_characters)
        if isinstance(prompt, str):
            parsed = parse_model_prompt(self._client.model_config, prompt)
            if characters <= _SHORT:
                (rendered,) = renderer.render_cmpl([parsed])
            else:
                (rendered,) = await renderer.render_cmpl_async([parsed])
            return rendered
        conversation = [{"role": message.role, "content": message.content} for message in prompt]
        if characters <= _SHORT:
            _, (rendered,) = renderer.render_chat([conversation], self._chat)
        else:
            _, (rendered,) = await renderer.render_chat_async([conversation], self._chat)
        return rendered

    def _parameters(self, sampling: Sampling, prompt_tokens: int, tokens_per_piece: int | None) -> "SamplingParams":
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            n=sampling.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=self._max_tokens(sampling.max_tokens, prompt_tokens),
            stop=list(sampling.stop),
            seed=sampling.seed,
            output_kind=RequestOutputKind.FINAL_ONLY if tokens_per_piece is None else RequestOutputKind.DELTA,
            stream_interval=tokens_per_piece,
            # No other code has these: vLLM need not copy them.
            skip_clone=True,
        )

    def _max_tokens(self, asked: int | None, prompt_tokens: int) -> int:
        """What `asked` comes to for this prompt. Raises RequestError if the context is too short for both."""
        limit = self.context_length
        if asked is None:
            if prompt_tokens >= limit:
                raise RequestError(
                    f"The prompt has {prompt_tokens} tokens, which leaves no room for an answer: "
                    f"this model's limit for both together is {limit}.",
                    "Shorten the prompt.",
                )
            return limit - prompt_tokens
        if prompt_tokens + asked > limit:
            raise too_long(prompt_tokens, asked, limit)
        return asked
