"""vLLM's scheduler with batched output: sends tokens to the API process when a client needs them, not one by one.

By default the engine sends each token and its statistics after each step, and each message wakes the API process. That
is most of the API process's work, and wasted if a client wants the answer whole or in pieces of several tokens.
"""

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
    from vllm.v1.metrics.stats import IterationStats, SchedulerStats
    from vllm.v1.request import Request

WHOLE_ANSWER_SECONDS = 1.0
"""Interval of sending tokens of answers that are wanted whole, which updates the counters of generated tokens."""

STREAM_SECONDS = 1 / 30
"""Minimum interval of sending tokens of a stream that sets no number of tokens for its events: a reader sees no
difference, and each event is work for the API process and the client. Slower streams are sent token by token."""

STATS_SECONDS = 0.1
"""Minimum interval of sending scheduler statistics while requests run. Counts are accumulated in between."""

_CLEANUP_MARGIN = 16
"""Stale buffers that are tolerated before they are dropped."""


def qualified_name(*, asynchronous: bool) -> str:
    """The value of vLLM's `scheduler_cls`: our variant of the scheduler that vLLM would have chosen."""
    return f"{__name__}.{'OutputBatchingAsyncScheduler' if asynchronous else 'OutputBatchingScheduler'}"


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # vLLM resolves the class by name in the engine process. Importing it at module level would import vLLM.
    if name == "OutputBatchingScheduler":
        from vllm.v1.core.sched.scheduler import Scheduler

        return type(name, (OutputBatchingMixin, Scheduler), {})
    if name == "OutputBatchingAsyncScheduler":
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler

        return type(name, (OutputBatchingMixin, AsyncScheduler), {})
    raise AttributeError(name)


class OutputBatchingMixin:
    """Mixin for vLLM's scheduler. Changes when outputs are sent, never what is scheduled."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        self._stats_sent_at = 0.0
        self._buffers: dict[str, _Buffered] = {}

    def add_request(self, request: "Request") -> None:
        """Add a request. Drops tokens buffered for an aborted request with the same id."""
        if request.request_id not in self.requests:  # type: ignore[attr-defined]
            self._buffers.pop(request.request_id, None)
        super().add_request(request)  # type: ignore[misc]

    def update_from_output(self, *arguments: Any, **named: Any) -> "dict[int, EngineCoreOutputs]":  # noqa: ANN401
        """Return the outputs of a step to send now; empty if all of them are buffered."""
        by_client: dict[int, EngineCoreOutputs] = super().update_from_output(*arguments, **named)  # type: ignore[misc]
        now = time.monotonic()
        for outputs in by_client.values():
            outputs.outputs = [output for output in outputs.outputs if self._is_due(output, now)]
        if len(self._buffers) > 2 * len(self.requests) + _CLEANUP_MARGIN:  # type: ignore[attr-defined]
            # Aborted requests have no final output, so their buffers remain.
            self._buffers = {key: buffered for key, buffered in self._buffers.items() if key in self.requests}  # type: ignore[attr-defined]
        return {client: outputs for client, outputs in by_client.items() if _has_content(outputs)}

    def make_stats(self, *arguments: Any, **named: Any) -> "SchedulerStats | None":  # noqa: ANN401
        """Return the statistics, or None if they were sent recently. Statistics of one step are never dropped."""
        now = time.monotonic()
        has_step_stats = any(arguments) or any(named.values())
        if now - self._stats_sent_at < STATS_SECONDS and not has_step_stats and any(self.get_request_counts()):  # type: ignore[attr-defined]
            return None
        self._stats_sent_at = now
        return super().make_stats(*arguments, **named)  # type: ignore[misc]

    def _is_due(self, output: "EngineCoreOutput", now: float) -> bool:
        """Whether to send `output` now, with all tokens buffered before; otherwise buffers its tokens."""
        request = self.requests.get(output.request_id)  # type: ignore[attr-defined]
        buffered = self._buffers.get(output.request_id)
        if buffered is None:
            # The first token is sent at once: the API process derives the prompt time from it.
            if request is not None and output.finish_reason is None:
                self._buffers[output.request_id] = _Buffered.after(now, *_batching_limits(request.sampling_params))
            return True
        buffered.tokens += output.new_token_ids
        if request is not None and _is_tokens_only(output) and not buffered.is_due(now):
            return False
        output.new_token_ids, buffered.tokens = buffered.tokens, []
        buffered.sent(now)
        if output.finish_reason is not None:
            del self._buffers[output.request_id]
        return True


@dataclass(slots=True)
class _Buffered:
    """Unsent tokens of one request: due when there are `max_tokens` of them, or at `due_at`.

    Times are multiples of `seconds`, so that the requests of one kind are due in the same step: one message has the
    tokens of all of them.
    """

    max_tokens: float
    seconds: float
    due_at: float = 0.0
    tokens: list[int] = field(default_factory=list)

    @classmethod
    def after(cls, now: float, max_tokens: float, seconds: float) -> Self:
        """The buffer of a request whose first token is sent `now`."""
        buffered = cls(max_tokens, seconds)
        buffered.sent(now)
        return buffered

    def sent(self, now: float) -> None:
        """Set the time at which the next tokens are due."""
        self.due_at = (now // self.seconds + 1) * self.seconds

    def is_due(self, now: float) -> bool:
        return len(self.tokens) >= self.max_tokens or now >= self.due_at


def _batching_limits(parameters: "SamplingParams | None") -> tuple[float, float]:
    """Maximum tokens to buffer, and the interval in seconds: tokens are sent at its multiples."""
    from vllm.sampling_params import RequestOutputKind

    if parameters is None or parameters.stop:
        return 1, math.inf  # the API process looks for stop strings in the text
    if parameters.output_kind is RequestOutputKind.FINAL_ONLY:
        return math.inf, WHOLE_ANSWER_SECONDS
    if parameters.stream_interval is None:
        return math.inf, STREAM_SECONDS
    return parameters.stream_interval, math.inf


def _is_tokens_only(output: "EngineCoreOutput") -> bool:
    """Whether `output` carries nothing but tokens."""
    other = (output.events, output.new_logprobs, output.new_sampling_mask, output.routed_experts)
    return output.finish_reason is None and all(each is None for each in other)


def _has_content(outputs: "EngineCoreOutputs") -> bool:
    return bool(outputs.outputs or outputs.scheduler_stats or outputs.finished_requests)


def patch_inter_token_latency() -> None:
    """Patch vLLM's metric of inter-token latency to count each token of an output with several."""
    from vllm.v1.metrics.stats import IterationStats

    original = IterationStats.update_from_output

    def update_from_output(self: "IterationStats", output: "EngineCoreOutput", *rest: Any, **named: Any) -> None:  # noqa: ANN401
        known = len(self.inter_token_latencies_iter)
        original(self, output, *rest, **named)
        if (tokens := len(output.new_token_ids)) > 1 and len(self.inter_token_latencies_iter) > known:
            self.inter_token_latencies_iter[-1:] = [self.inter_token_latencies_iter[-1] / tokens] * tokens

    IterationStats.update_from_output = update_from_output
