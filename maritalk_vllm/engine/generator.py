"""Generate answers to prompts through vLLM's EngineClient."""

import contextlib
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry import propagate, trace

from ..errors import EngineError, RequestError, too_long
from .completion import Completion, OutputCollector, Piece
from .exception_mapping import map_vllm_exceptions
from .inline_rendering import INLINE_CHARACTERS
from .prompt_limits import check_characters, check_number, max_characters
from .sampling import Message, Sampling

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient
    from vllm.inputs import EngineInput
    from vllm.sampling_params import SamplingParams

Prompt = str | Sequence[Message]
"""A text to complete, or a conversation to answer with the chat template."""

Parts = AsyncGenerator[Piece | Completion, None]
"""Pieces of a request's answers, and finally the completion."""


class Generator:
    """Answers prompts with a vLLM engine. `chat_template` (a path or the template itself) replaces the model's own.

    `template_arguments` are passed to the template.
    """

    def __init__(
        self,
        client: "EngineClient",
        chat_template: str | None = None,
        template_arguments: Mapping[str, object] | None = None,
    ) -> None:
        from vllm.renderers import ChatParams, TokenizeParams
        from vllm.renderers.chat_utils import load_chat_template
        from vllm.utils.mistral import is_mistral_tokenizer

        self._client = client
        self._max_characters = max_characters(client)
        config = client.model_config
        # As on vLLM's own route: other templates return text, which the renderer tokenizes.
        template_tokenizes = is_mistral_tokenizer(client.renderer.tokenizer) or config.enable_prompt_embeds
        self._chat = ChatParams(
            chat_template=load_chat_template(chat_template),
            chat_template_kwargs={
                **(template_arguments or {}),
                "add_generation_prompt": True,
                "tokenize": template_tokenizes,
            },
        )
        # The template has written the special tokens.
        self._chat_tokens = TokenizeParams(max_total_tokens=config.max_model_len, add_special_tokens=False)

    @property
    def unfinished_requests(self) -> int:
        """Number of queued and running requests of all routes."""
        return int(self._client.get_num_unfinished_requests())

    @property
    def context_length(self) -> int:
        """Maximum tokens of a prompt and its answer together."""
        return int(self._client.model_config.max_model_len)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Return the completion. Cancelling aborts the request in the engine. Raises the same errors as `stream`."""
        async with contextlib.aclosing(self.stream(prompt, sampling)) as parts:
            async for part in parts:
                if isinstance(part, Completion):
                    return part
        raise EngineError("The engine ended the request without an answer.")

    async def stream(self, prompt: Prompt, sampling: Sampling, tokens_per_piece: int | None = None) -> Parts:
        """Yield the answer in pieces of about `tokens_per_piece` tokens, or in one if None, then the completion.

        Closing or cancelling aborts the request in the engine. Raises RequestError for a prompt that the model cannot
        process, Unavailable and EngineError.
        """
        with map_vllm_exceptions():
            rendered = await self._render(prompt)
            parameters = self._parameters(sampling, len(rendered["prompt_token_ids"]), tokens_per_piece)
            collector = OutputCollector(sampling.n)
            outputs = self._client.generate(
                rendered, parameters, request_id=uuid.uuid4().hex, trace_headers=self._trace_headers()
            )
            async with contextlib.aclosing(outputs):
                async for output in outputs:
                    for piece in collector.add(output):
                        yield piece
                    if output.finished:
                        yield collector.completion(output)

    @staticmethod
    def _trace_headers() -> dict[str, str] | None:
        """The current span as the trace headers that vLLM expects; None if no span is recording."""
        headers: dict[str, str] = {}
        if trace.get_current_span().is_recording():
            propagate.inject(headers)
        return headers or None

    async def _render(self, prompt: Prompt) -> "EngineInput":
        """Apply the chat template and tokenize. Raises RequestError for a prompt that is too long."""
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        renderer = self._client.renderer
        characters = len(prompt) if isinstance(prompt, str) else sum(len(message.content) for message in prompt)
        if not isinstance(prompt, str):
            check_number("messages", len(prompt), self.context_length)
        # Check before rendering: for a chat, rendering also tokenizes.
        check_characters([characters], self.context_length, self._max_characters)
        if isinstance(prompt, str):
            parsed = parse_model_prompt(self._client.model_config, prompt)
            if characters <= INLINE_CHARACTERS:
                (rendered,) = renderer.render_cmpl([parsed])
            else:
                (rendered,) = await renderer.render_cmpl_async([parsed])
            return rendered
        conversation = [{"role": message.role, "content": message.content} for message in prompt]
        if characters <= INLINE_CHARACTERS:
            _, (rendered,) = renderer.render_chat([conversation], self._chat, self._chat_tokens)
        else:
            _, (rendered,) = await renderer.render_chat_async([conversation], self._chat, self._chat_tokens)
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
            # No other code uses these parameters, so vLLM need not copy them.
            skip_clone=True,
        )

    def _max_tokens(self, requested: int | None, prompt_tokens: int) -> int:
        """The effective max_tokens for this prompt. Raises RequestError if prompt and answer exceed the context."""
        limit = self.context_length
        if requested is None:
            if prompt_tokens >= limit:
                raise RequestError(
                    f"The prompt has {prompt_tokens} tokens, which leaves no room for an answer: "
                    f"this model's limit for both together is {limit}.",
                    "Shorten the prompt.",
                )
            return limit - prompt_tokens
        if prompt_tokens + requested > limit:
            raise too_long(prompt_tokens, requested, limit)
        return requested
