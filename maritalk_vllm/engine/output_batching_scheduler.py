"""vLLM's scheduler, which tells the API process of tokens when somebody waits for them, and not one by one.

By itself the engine sends each token as it comes, and its figures at each step; the API process wakes for all of them.
That is most of its work, and in vain where an answer is wanted whole, or in pieces of several tokens.
"""

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
    from vllm.v1.metrics.stats import IterationStats, SchedulerStats
    from vllm.v1.request import Request

WHOLE_SECONDS = 1.0
"""How often tokens are told where an answer is wanted whole: the counters of what was generated move on."""

FIGURES_SECONDS = 0.1
"""How often the engine's figures are told while it works. What they count is summed up meanwhile."""

_FEW = 16


def name_for(*, asynchronous: bool) -> str:
    """The class that vLLM is to be told of, as `scheduler_cls`: of the kind that it would have taken."""
    return f"{__name__}.{'PatientAsyncScheduler' if asynchronous else 'PatientScheduler'}"


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # vLLM asks for the class by its name, in the process that runs the engine; to import it here would import vLLM.
    if name == "PatientScheduler":
        from vllm.v1.core.sched.scheduler import Scheduler

        return type(name, (_Patient, Scheduler), {})
    if name == "PatientAsyncScheduler":
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler

        return type(name, (_Patient, AsyncScheduler), {})
    raise AttributeError(name)


class _Patient:
    """Goes before vLLM's class, to which it leaves all that is decided."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **named)
        self._told_at = 0.0
        self._withheld: dict[str, _Withheld] = {}

    def add_request(self, request: "Request") -> None:
        """One more. Of another with its name that was given up nothing is left."""
        if request.request_id not in self.requests:  # type: ignore[attr-defined]
            self._withheld.pop(request.request_id, None)
        super().add_request(request)  # type: ignore[misc]

    def update_from_output(self, *arguments: Any, **named: Any) -> "dict[int, EngineCoreOutputs]":  # noqa: ANN401
        """What the API process is told of a step; nothing at all where nobody waits for what it brought."""
        told: dict[int, EngineCoreOutputs] = super().update_from_output(*arguments, **named)  # type: ignore[misc]
        now = time.monotonic()
        for outputs in told.values():
            outputs.outputs = [output for output in outputs.outputs if self._is_due(output, now)]
        if len(self._withheld) > 2 * len(self.requests) + _FEW:  # type: ignore[attr-defined]
            # Those that were given up have no last output.
            self._withheld = {key: held for key, held in self._withheld.items() if key in self.requests}  # type: ignore[attr-defined]
        return {client: outputs for client, outputs in told.items() if _says_something(outputs)}

    def make_stats(self, *arguments: Any, **named: Any) -> "SchedulerStats | None":  # noqa: ANN401
        """The engine's figures, unless they were told just now; what a step has to say for itself is never left out."""
        now = time.monotonic()
        of_this_step = any(arguments) or any(named.values())
        if now - self._told_at < FIGURES_SECONDS and not of_this_step and any(self.get_request_counts()):  # type: ignore[attr-defined]
            return None
        self._told_at = now
        return super().make_stats(*arguments, **named)  # type: ignore[misc]

    def _is_due(self, output: "EngineCoreOutput", now: float) -> bool:
        """Whether it is told now, with all that was withheld before; else its tokens are withheld."""
        request = self.requests.get(output.request_id)  # type: ignore[attr-defined]
        withheld = self._withheld.get(output.request_id)
        if withheld is None:
            # The first token is told at once: by it, the API process knows how long the prompt took.
            if request is not None and output.finish_reason is None:
                self._withheld[output.request_id] = _Withheld(now, *_patience(request.sampling_params))
            return True
        withheld.tokens += output.new_token_ids
        if request is not None and _is_plain(output) and not withheld.is_due(now):
            return False
        output.new_token_ids, withheld.tokens, withheld.told_at = withheld.tokens, [], now
        if output.finish_reason is not None:
            del self._withheld[output.request_id]
        return True


@dataclass(slots=True)
class _Withheld:
    """Tokens of one request that nobody was told of yet: `most` at once, and for no longer than so many `seconds`."""

    told_at: float
    most: float
    seconds: float
    tokens: list[int] = field(default_factory=list)

    def is_due(self, now: float) -> bool:
        return len(self.tokens) >= self.most or now - self.told_at >= self.seconds


def _patience(parameters: "SamplingParams | None") -> tuple[float, float]:
    """How many tokens may be told together, and for how many seconds none."""
    from vllm.sampling_params import RequestOutputKind

    if parameters is None or parameters.stop:
        return 1, 0.0  # where a text stops is found where it is read
    if parameters.output_kind is RequestOutputKind.FINAL_ONLY:
        return math.inf, WHOLE_SECONDS
    return parameters.stream_interval or 1, math.inf


def _is_plain(output: "EngineCoreOutput") -> bool:
    """Whether it says nothing but tokens."""
    told = (output.events, output.new_logprobs, output.new_sampling_mask, output.routed_experts)
    return output.finish_reason is None and all(each is None for each in told)


def _says_something(outputs: "EngineCoreOutputs") -> bool:
    return bool(outputs.outputs or outputs.scheduler_stats or outputs.finished_requests)


def spread_latency() -> None:
    """Have vLLM's metric of the time between tokens count tokens, where several are told together."""
    from vllm.v1.metrics.stats import IterationStats

    original = IterationStats.update_from_output

    def update_from_output(self: "IterationStats", output: "EngineCoreOutput", *rest: Any, **named: Any) -> None:  # noqa: ANN401
        known = len(self.inter_token_latencies_iter)
        original(self, output, *rest, **named)
        if (tokens := len(output.new_token_ids)) > 1 and len(self.inter_token_latencies_iter) > known:
            self.inter_token_latencies_iter[-1:] = [self.inter_token_latencies_iter[-1] / tokens] * tokens

    IterationStats.update_from_output = update_from_output
