"""The link to the engine, which outlives it: what an engine that died had to do is submitted to the next one.

AsyncLLM sends requests and receives their outputs through vLLM's EngineCoreClient, and keeps the text, the logprobs and
the stop strings of each request itself. This module stands between the two, so that nothing above it notices a change
of the engine: the next one gets the prompt with the tokens received so far, and the stream continues where it was.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..errors import MariTalkError, Unavailable
from ..i18n.message import Number, msg
from .request_context import RequestContext, current

if TYPE_CHECKING:
    from vllm.v1.engine import EngineCoreOutputs, EngineCoreRequest

MAX_DEATHS = 2
"""A request that was running when the engine died so many times is not submitted again: it may be the cause."""

DIED = Unavailable("The engine has died, and is started again.", "Try again in a moment.")
KILLS_ENGINES = Unavailable(
    "The engine has died twice while it ran this request, which is not sent to it again.",
    "Change the request; the server's log says why the engine died.",
)
KILLS_ENGINES_REASON = "engine_deaths"
"""The reason of such a rejection in the metrics."""


def not_back(seconds: float) -> Unavailable:
    """The error of a request that would wait for longer than `seconds` for the next engine."""
    limit = Number(seconds, ".0f")
    return Unavailable(
        msg("The engine has died, and was not back within {seconds} s.", seconds=limit), "Try again later."
    )


@dataclass(slots=True)
class _Submission:
    """A request as AsyncLLM sent it, and its state. `waiting_since`: when it lost its engine; None while it has one."""

    request: "EngineCoreRequest"
    context: RequestContext | None
    waiting_since: float | None = None
    deaths: int = 0


class ResilientCore:
    """Takes the place of AsyncLLM's `engine_core`, and delegates to the client of the current engine."""

    def __init__(
        self,
        core: Any,  # noqa: ANN401
        processor: Any,  # noqa: ANN401
        to_vllm_error: Callable[[MariTalkError], Exception],
    ) -> None:
        """`core`: vLLM's client of the first engine.

        `processor`: AsyncLLM's OutputProcessor, which has the state of each request. `to_vllm_error`: the error that
        vLLM's routes answer as ours.
        """
        self._core = core
        self._processor = processor
        self._to_vllm_error = to_vllm_error
        # By the state of the request, which the output processor drops when the request ends.
        self._submissions: WeakKeyDictionary[Any, _Submission] = WeakKeyDictionary()
        self._resumed: set[str] = set()
        self._connected = asyncio.Event()
        self._connected.set()
        self._lost_at = 0.0
        self._rejection: MariTalkError | None = None
        self.resources = SimpleNamespace(engine_dead=False)
        """Part of the interface of vLLM's client. AsyncLLM is never notified of an engine's death."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """All other methods of vLLM's client, such as those of LoRA adapters, concern the current engine alone."""
        return getattr(self._core, name)

    @property
    def is_lost(self) -> bool:
        """Whether no engine is connected."""
        return not self._connected.is_set()

    async def add_request_async(self, request: "EngineCoreRequest") -> None:
        """Submit a request; without an engine, it waits for the next one."""
        state = self._processor.request_states.get(request.request_id)
        submission = _Submission(request, current.get())
        if state is not None:
            self._submissions[state] = submission
        if self._rejection is not None and state is not None:
            self._fail(state, self._rejection)
        elif self.is_lost:
            submission.waiting_since = time.monotonic()
        else:
            await self._submit(request)

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        """Abort requests, whose states are removed already: without an engine, nothing is left to do."""
        if not self.is_lost:
            await self._core.abort_requests_async(request_ids)

    async def get_output_async(self) -> "EngineCoreOutputs":
        """The next outputs of the current engine or, once it is lost, of the next one."""
        while True:
            await self._connected.wait()
            core = self._core
            try:
                outputs: EngineCoreOutputs = await core.get_output_async()
            except Exception:
                if not core.resources.engine_dead:
                    raise
                if core is self._core:
                    self.lose()
                continue
            if core is not self._core or self.is_lost:
                continue  # these tokens are generated again
            if self._resumed:
                self._hide_second_start(outputs)
            return outputs

    def _hide_second_start(self, outputs: "EngineCoreOutputs") -> None:
        """Remove the times at which resumed requests were queued and scheduled again: the first ones count."""
        for output in outputs.outputs:
            if output.request_id in self._resumed:
                output.events = None

    def lose(self) -> None:
        """Disconnect from an engine that died or was killed. Its requests wait for the next one.

        Those that cannot be continued exactly, or may have killed it, end with an error.
        """
        if self.is_lost:
            return
        self._connected.clear()
        self._core.shutdown()
        for future in self._core.utility_results.values():
            if not future.done():
                future.set_exception(self._to_vllm_error(DIED))
        self._lost_at = now = time.monotonic()
        for state, submission in self._submitted():
            submission.waiting_since = now
            submission.deaths += 1
            if submission.deaths >= MAX_DEATHS:
                if submission.context is not None:
                    submission.context.reason = KILLS_ENGINES_REASON
                self._fail(state, KILLS_ENGINES)
            elif not _is_resumable(state, submission.request):
                self._fail(state, DIED)

    def expire(self, seconds: float) -> None:
        """End what waits for an engine that was lost more than `seconds` ago, and reject new requests until the next.

        Without it they would wait for as long as a node is missing, and longer than their clients.
        """
        if self.is_lost and self._rejection is None and time.monotonic() - self._lost_at > seconds:
            self._rejection = not_back(seconds)
            for state, _ in self._submitted():
                self._fail(state, self._rejection)

    def _submitted(self) -> "Iterator[tuple[Any, _Submission]]":
        """The states of the unfinished requests that were submitted; one that ends meanwhile is left out."""
        for state in list(self._processor.request_states.values()):
            submission = self._submissions.get(state)
            if submission is not None and state.request_id in self._processor.request_states:
                yield state, submission

    async def resume(self, core: Any) -> None:  # noqa: ANN401
        """Use `core`, vLLM's client of the next engine, and submit to it what waits."""
        self._core, self._rejection = core, None
        waiting = list(self._submitted())
        self._resumed = {state.request_id for state, each in waiting if each.deaths and _received(state)}
        self._connected.set()
        self._record_lost_time(each for _, each in waiting)
        for state, submission in waiting:
            if self.is_lost:
                return
            if submission.waiting_since is not None and state.request_id in self._processor.request_states:
                submission.waiting_since = None
                await self._submit(self._continuation(state, submission.request))

    async def _submit(self, request: "EngineCoreRequest") -> None:
        core = self._core
        try:
            await core.add_request_async(request)
        except Exception:
            if not core.resources.engine_dead:
                raise
            if core is self._core:
                self.lose()

    @staticmethod
    def _record_lost_time(submissions: "Iterable[_Submission]") -> None:
        """Record once for each client request how long its engine requests have waited."""
        now = time.monotonic()
        lost: dict[int, tuple[RequestContext, float]] = {}
        for each in submissions:
            if each.context is not None and each.waiting_since is not None:
                before = lost.get(id(each.context), (each.context, 0.0))[1]
                lost[id(each.context)] = each.context, max(before, now - each.waiting_since)
        for context, seconds in lost.values():
            context.usage.lose(seconds)

    def _continuation(self, state: Any, request: "EngineCoreRequest") -> "EngineCoreRequest":  # noqa: ANN401
        """The request for what `state` still lacks."""
        received = _received(state)
        if not received:
            return request
        if not _is_continuable(request):
            self._restart(state, request)
            return request
        parameters = copy(request.sampling_params)
        parameters.max_tokens -= len(received)
        parameters.min_tokens = max(0, parameters.min_tokens - len(received))
        parameters.prompt_logprobs = None  # the state has them
        request = copy(request)
        request.prompt_token_ids = [*request.prompt_token_ids, *received]
        request.sampling_params = parameters
        return request

    def _restart(self, state: Any, request: "EngineCoreRequest") -> None:  # noqa: ANN401
        """Discard the generated tokens of a request whose client has received none yet."""
        fresh = type(state).from_new_request(
            tokenizer=self._processor.tokenizer,
            request=request,
            prompt=state.prompt,
            parent_req=state.parent_req,
            request_index=state.request_index,
            queue=state.queue,
            log_stats=self._processor.log_stats,
            stream_interval=self._processor.stream_interval,
        )
        fresh.stats = state.stats  # the request's usage refers to it
        fresh.stats.num_generation_tokens = 0
        fresh.is_prefilling = state.is_prefilling
        self._submissions[fresh] = self._submissions[state]
        self._processor.request_states[state.request_id] = fresh

    def _fail(self, state: Any, error: MariTalkError) -> None:  # noqa: ANN401
        """End a request, with all answers to its prompt, with `error`."""
        parent = state.parent_req
        queue = state.queue
        request_id = state.request_id if parent is None else parent.request_id
        children = [state.request_id] if parent is None else list(parent.child_requests)
        for child in children:
            if (each := self._processor.request_states.get(child)) is not None:
                each.queue = None  # which would get the end of an aborted request in place of the error
        self._processor.abort_requests([request_id], internal=True)
        queue.put(self._to_vllm_error(error))


def _received(state: Any) -> list[int]:  # noqa: ANN401
    """The tokens that a request has received; none for a pooling request."""
    return [] if state.detokenizer is None else list(state.detokenizer.output_token_ids)


def _is_resumable(state: Any, request: "EngineCoreRequest") -> bool:  # noqa: ANN401
    """Whether a request can continue on another engine so that its client gets the same as without a change."""
    if request.resumable or request.mm_features:  # the input's later parts, or images that the engine has cached
        return False
    is_sent = state.output_kind.name != "FINAL_ONLY" and bool(_received(state))
    return not is_sent or _is_continuable(request)


def _is_continuable(request: "EngineCoreRequest") -> bool:
    """Whether received tokens may become a part of the prompt: nothing counts or remembers output tokens alone.

    A repetition penalty counts the prompt as well.
    """
    parameters = request.sampling_params
    assert parameters is not None
    return request.prompt_embeds is None and not (
        parameters.presence_penalty
        or parameters.frequency_penalty
        or (parameters.seed is not None and parameters.temperature)
        or parameters.structured_outputs is not None
        or parameters.bad_words
        or parameters.thinking_token_budget is not None
        or parameters.repetition_detection is not None
        or parameters.extra_args
    )
