"""vLLM's engine client with our limits and accounting: each route's requests pass it on their way to the engine."""

import functools
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any

from .admission import check_answers, max_answers
from .exception_mapping import map_to_vllm_exceptions
from .logprob_limits import limit_logprobs
from .request_context import RequestContext, current
from .service_tier import ServiceTier
from .shared_load import SharedLoad

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM
else:
    AsyncLLM = object  # `client_class` adds it, since importing it here would import vLLM


class LimitedClient(AsyncLLM):  # type: ignore[misc]
    """Checks and counts what is sent to the engine; requests without a RequestContext, such as the warm-up, pass.

    Mixin for vLLM's AsyncLLM; must precede it in the bases. Rejections are vLLM errors, whose cause is ours: vLLM's
    routes answer them with the right status.
    """

    stream_interval: int | None = None
    """Tokens of an event of a stream, where the operator has set vLLM's `--stream-interval`. None: tokens that come
    faster than a reader sees are sent together (`output_batching_scheduler.STREAM_SECONDS`)."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        # AsyncLLM makes its OutputProcessor itself, and offers no hook between adding an answer and sending it.
        self._lines: set[str] = set()
        """The ids of the engine's requests for lines of batches; those that have ended are removed when it is asked."""
        self.output_processor.add_request = _add_and_record(self.output_processor, self._lines)
        self._load: SharedLoad | None = None

    def share_load(self, load: SharedLoad | None) -> None:
        """Limit and report the load of all API processes, instead of that of this process alone; None does nothing."""
        if load is not None:
            load.clear()
            self._load = self.admission_stats = self.output_processor.admission_stats = load

    def get_num_unfinished_requests(self) -> int:
        """The number of queued and running requests, of all API processes."""
        return super().get_num_unfinished_requests() if self._load is None else self._load.get_num_requests()

    def get_num_unfinished_lines(self) -> int:
        """The number of those among the unfinished requests that are for lines of batches, of all API processes."""
        self._lines.intersection_update(self.output_processor.request_states)
        if self._load is None:
            return len(self._lines)
        self._load.set_lines(len(self._lines))
        return self._load.get_lines()

    def publish_load(self) -> None:
        """Show other API processes the queued tokens and the lines; they see the number of requests at once."""
        if self._load is not None:
            self.get_num_queued_tokens()
            self.get_num_unfinished_lines()

    def get_num_queued_tokens(self) -> int:
        """The number of prompt tokens without a token of an answer yet, of all API processes."""
        own: int = super().get_num_queued_tokens()
        if self._load is None:
            return own
        self._load.set_queued_tokens(own)
        return self._load.get_queued_tokens()

    def generate(
        self,
        prompt: Any,  # noqa: ANN401
        sampling_params: Any,  # noqa: ANN401
        *rest: Any,  # noqa: ANN401
        **named: Any,  # noqa: ANN401
    ) -> "AsyncGenerator[RequestOutput, None]":
        """Reserve what the request may use at most, and return its outputs. Its priority is that of its tier.

        No generator function: vLLM's routes call it before they respond, and its errors become their status.
        """
        context = current.get()
        if context is not None:
            # Overrides the body's priority: a client must not overtake others.
            named["priority"] = context.tier.priority
        usage = None if context is None else context.usage
        if sampling_params.stream_interval is None:
            sampling_params.stream_interval = self._stream_interval(context)
        most_tokens = self.model_config.max_model_len
        if sampling_params.logprobs is not None or sampling_params.prompt_logprobs is not None:
            with map_to_vllm_exceptions():
                limit_logprobs(sampling_params, prompt_length(prompt), most_tokens, usage)
        if usage is not None and usage.allowance is not None:
            length = prompt_length(prompt)
            available = max(0, most_tokens - length)
            longest = available if sampling_params.max_tokens is None else min(sampling_params.max_tokens, available)
            with map_to_vllm_exceptions():
                usage.allowance.take(length, sampling_params.n, longest, is_open=longest == available)
        outputs: AsyncGenerator[RequestOutput, None] = super().generate(prompt, sampling_params, *rest, **named)
        return outputs

    def _stream_interval(self, context: RequestContext | None) -> int | None:
        """Tokens of an event of a stream whose request does not set it; None to let the time decide."""
        if self.stream_interval is None and context is not None and context.has_tools:
            return 1  # vLLM's parsers of tool calls are made for one token at a time
        return self.stream_interval

    def check_admission(self, n: int = 1, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        """Reject more answers than the queue can ever hold as invalid, and more than it holds now as to be retried."""
        with map_to_vllm_exceptions():
            check_answers(1, n, max_answers(self))
        super().check_admission(n, *rest, **named)


def client_class() -> "type[AsyncLLM]":
    """Return the class of the client that the server uses."""
    from vllm.v1.engine.async_llm import AsyncLLM

    return type("EngineClient", (LimitedClient, AsyncLLM), {})


def prompt_length(prompt: Any) -> int:  # noqa: ANN401
    """Number of tokens of a prompt that vLLM's renderer returned."""
    inner = prompt.get("decoder_prompt", prompt)
    tokens = inner.get("prompt_token_ids")
    return len(inner.get("prompt_embeds", ()) if tokens is None else tokens)


def _add_and_record(processor: Any, lines: set[str]) -> Callable[..., None]:  # noqa: ANN401
    """Return a replacement for `processor.add_request` that records each answer in the usage of its request.

    The ids of requests for lines of batches are added to `lines`.
    """
    add_request = processor.add_request

    @functools.wraps(add_request)
    def add_and_record(request: Any, prompt: Any, parent: Any, index: int, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        add_request(request, prompt, parent, index, *rest, **named)
        if (context := current.get()) is not None:
            state = processor.request_states[request.request_id]
            context.usage.admit(0 if index else state.prompt_len, state.stats)
            if context.tier is ServiceTier.BATCH:
                lines.add(request.request_id)

    return add_and_record
