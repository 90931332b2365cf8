"""Requests that the link submits to the next engine, and responses that their clients receive."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import pytest

from maritalk_vllm.engine.request_context import RequestContext, current
from maritalk_vllm.engine.resilient_core import DIED, KILLS_ENGINES, KILLS_ENGINES_REASON, ResilientCore, not_back
from maritalk_vllm.errors import Unavailable

PROMPT = [1, 2, 3]


@dataclass
class Parameters:
    """Stands for vLLM's SamplingParams."""

    max_tokens: int = 10
    min_tokens: int = 0
    temperature: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    prompt_logprobs: int | None = None
    structured_outputs: object = None
    bad_words: list[str] | None = None
    thinking_token_budget: int | None = None
    repetition_detection: object = None
    extra_args: object = None


@dataclass
class Request:
    """Stands for vLLM's EngineCoreRequest."""

    request_id: str
    sampling_params: Parameters
    prompt_token_ids: list[int] = field(default_factory=lambda: PROMPT)
    prompt_embeds: object = None
    mm_features: object = None
    resumable: bool = False


class State:
    """Stands for vLLM's RequestState, with its queue."""

    def __init__(self, request_id: str, kind: str, parent: Any = None) -> None:
        self.request_id = request_id
        self.output_kind = SimpleNamespace(name=kind)
        self.parent_req = parent
        self.prompt, self.request_index, self.is_prefilling = "1 2 3", 0, False
        self.queue: Any = SimpleNamespace(put=self._put)
        self.stats = SimpleNamespace(num_generation_tokens=0)
        self.detokenizer = SimpleNamespace(output_token_ids=[])
        self.errors: list[Exception] = []

    def _put(self, error: Exception) -> None:
        self.errors.append(error)

    @classmethod
    def from_new_request(cls, **named: Any) -> Self:
        state = cls(named["request"].request_id, "FINAL_ONLY", named["parent_req"])
        state.queue = named["queue"]
        return state


class Processor:
    """Stands for vLLM's OutputProcessor."""

    tokenizer, log_stats, stream_interval = None, True, 1

    def __init__(self) -> None:
        self.request_states: dict[str, State] = {}
        self.aborted: list[str] = []

    def abort_requests(self, request_ids: list[str], *, internal: bool) -> None:
        assert internal
        self.aborted += request_ids
        for each in request_ids:
            self.request_states.pop(each, None)


class Core:
    """Stands for vLLM's client of one engine."""

    def __init__(self) -> None:
        self.submitted: list[Request] = []
        self.aborted: list[str] = []
        self.outputs: asyncio.Queue[Any] = asyncio.Queue()
        self.resources = SimpleNamespace(engine_dead=False)
        self.utility_results: dict[int, asyncio.Future[Any]] = {}

    async def add_request_async(self, request: Request) -> None:
        if self.resources.engine_dead:
            raise RuntimeError
        self.submitted.append(request)

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        self.aborted += request_ids

    async def get_output_async(self) -> Any:
        output = await self.outputs.get()
        if self.resources.engine_dead:
            raise RuntimeError
        return output

    def shutdown(self) -> None:
        self.resources.engine_dead = True
        self.outputs.put_nowait(None)


class Scenario:
    """A link with one engine, and the next."""

    def __init__(self) -> None:
        self.processor, self.first, self.second = Processor(), Core(), Core()
        self.link = ResilientCore(self.first, self.processor, lambda error: error)

    async def add(self, kind: str, received: int, parent: Any = None, name: str = "a", **named: Any) -> State:
        """Submit a request that receives so many tokens."""
        state = self.processor.request_states[name] = State(name, kind, parent)
        extra = {key: named.pop(key) for key in ("mm_features", "resumable", "prompt_embeds") if key in named}
        await self.link.add_request_async(Request(name, Parameters(**named), **extra))
        state.detokenizer.output_token_ids += range(7, 7 + received)
        state.stats.num_generation_tokens = received
        return state

    async def next_engine(self) -> list[Request]:
        self.link.lose()
        await self.link.resume(self.second)
        return self.second.submitted


INEXACT: list[dict[str, Any]] = [
    {"seed": 1, "temperature": 0.5},
    {"presence_penalty": 0.1},
    {"frequency_penalty": -0.1},
    {"structured_outputs": object()},
    {"bad_words": ["no"]},
    {"thinking_token_budget": 3},
    {"repetition_detection": object()},
    {"extra_args": {"a": 1}},
    {"prompt_embeds": [0.5]},
]


@pytest.mark.parametrize("kind", ["DELTA", "CUMULATIVE", "FINAL_ONLY"])
@pytest.mark.parametrize("named", [{}, {"temperature": 0.7}, {"seed": 1}])
def test_the_next_engine_gets_received_tokens_as_part_of_the_prompt(kind: str, named: dict[str, Any]) -> None:
    async def scenario() -> None:
        run = Scenario()
        state = await run.add(kind, 4, min_tokens=6, prompt_logprobs=1, **named)
        (request,) = await run.next_engine()
        assert request.prompt_token_ids == [1, 2, 3, 7, 8, 9, 10]
        parameters = request.sampling_params
        assert (parameters.max_tokens, parameters.min_tokens, parameters.prompt_logprobs) == (6, 2, None)
        # What vLLM's routes and the usage of the request read stays as it is.
        (sent,) = run.first.submitted
        assert (sent.prompt_token_ids, sent.sampling_params.max_tokens) == (PROMPT, 10)
        assert run.processor.request_states["a"] is state
        assert state.errors == []

    asyncio.run(scenario())


@pytest.mark.parametrize("named", INEXACT, ids=lambda named: next(iter(named)))
def test_an_answer_that_would_change_is_generated_again_or_ends_with_an_error(named: dict[str, Any]) -> None:
    async def scenario() -> None:
        run = Scenario()
        unsent = await run.add("FINAL_ONLY", 4, name="unsent", **named)
        untouched = await run.add("DELTA", 0, name="untouched", **named)
        stream = await run.add("DELTA", 4, name="stream", **named)
        submitted = await run.next_engine()
        assert submitted == run.first.submitted[:2]
        assert stream.errors == [DIED]
        assert run.processor.aborted == ["stream"]
        fresh = run.processor.request_states["unsent"]
        assert fresh is not unsent
        assert (fresh.detokenizer.output_token_ids, fresh.queue) == ([], unsent.queue)
        # The request's usage has this object: discarded tokens do not count.
        assert fresh.stats is unsent.stats
        assert fresh.stats.num_generation_tokens == 0
        assert run.processor.request_states["untouched"] is untouched

    asyncio.run(scenario())


@pytest.mark.parametrize("named", [{"mm_features": [object()]}, {"resumable": True}])
def test_what_the_next_engine_lacks_ends_with_an_error(named: dict[str, Any]) -> None:
    async def scenario() -> None:
        run = Scenario()
        state = await run.add("FINAL_ONLY", 0, **named)
        assert await run.next_engine() == []
        assert state.errors == [DIED]

    asyncio.run(scenario())


def test_one_answer_that_cannot_continue_ends_all_of_its_prompt() -> None:
    async def scenario() -> None:
        run = Scenario()
        parent = SimpleNamespace(request_id="p", child_requests={"0_p", "1_p"})
        first = await run.add("DELTA", 2, parent, "0_p", presence_penalty=1.0)
        second = await run.add("DELTA", 0, parent, "1_p", presence_penalty=1.0)
        run.link.lose()
        assert first.errors + second.errors == [DIED]
        assert (first.queue, second.queue) == (None, None)
        assert run.processor.aborted == ["p"]

    asyncio.run(scenario())


def test_requests_wait_without_an_engine_and_are_not_submitted_if_they_end_meanwhile() -> None:
    async def scenario() -> None:
        run = Scenario()
        context = RequestContext()
        current.set(context)
        run.link.lose()
        await run.add("DELTA", 0, name="waits")
        await run.add("DELTA", 0, name="leaves")
        run.processor.abort_requests(["leaves"], internal=True)
        await run.link.abort_requests_async(["leaves"])
        await run.link.resume(run.second)
        assert [each.request_id for each in run.second.submitted] == ["waits"]
        assert (run.first.aborted, run.second.aborted) == ([], [])
        assert context.usage.totals.lost_time > 0

    asyncio.run(scenario())


def test_a_request_that_ran_in_two_deaths_is_not_submitted_again() -> None:
    async def scenario() -> None:
        run = Scenario()
        context = RequestContext()
        current.set(context)
        fatal = await run.add("DELTA", 1)
        await run.next_engine()
        current.set(None)
        other = await run.add("DELTA", 1, name="other")
        run.link.lose()
        third = Core()
        await run.link.resume(third)
        assert [each.request_id for each in third.submitted] == ["other"]
        assert (fatal.errors, other.errors) == ([KILLS_ENGINES], [])
        assert context.reason == KILLS_ENGINES_REASON

    asyncio.run(scenario())


def test_requests_wait_for_the_next_engine_for_a_limited_time() -> None:
    async def scenario() -> None:
        run = Scenario()
        running = await run.add("DELTA", 1)
        run.link.expire(0)
        assert not running.errors
        run.link.lose()
        waiting = await run.add("DELTA", 0, name="waits")
        run.link.expire(60)
        assert not running.errors and not waiting.errors
        await asyncio.sleep(0.001)
        run.link.expire(0)
        late = await run.add("DELTA", 0, name="late")
        run.link.expire(0)
        for each in (running, waiting, late):
            assert [(type(error), str(error)) for error in each.errors] == [(Unavailable, str(not_back(0)))]
        assert not run.processor.request_states
        await run.link.resume(run.second)
        await run.add("DELTA", 0, name="next")
        assert [each.request_id for each in run.second.submitted] == ["next"]
        run.link.lose()
        run.link.expire(60)
        waiting = await run.add("DELTA", 0, name="waits again")
        assert not waiting.errors

    asyncio.run(scenario())


def test_only_outputs_of_the_current_engine_count() -> None:
    """Also when the engine itself reports that it dies; a resumed request is queued and scheduled once."""

    async def scenario() -> None:
        run = Scenario()
        await run.add("DELTA", 1)
        await run.add("DELTA", 0, name="unscheduled")
        reading = asyncio.ensure_future(run.link.get_output_async())
        await asyncio.sleep(0)
        run.first.shutdown()
        await asyncio.sleep(0.01)
        assert run.link.is_lost
        await run.link.resume(run.second)
        await run.add("DELTA", 0, name="new")
        outputs = SimpleNamespace(
            outputs=[SimpleNamespace(request_id=each, events=["QUEUED"]) for each in ("a", "unscheduled", "new")]
        )
        run.second.outputs.put_nowait(outputs)
        assert [each.events for each in (await reading).outputs] == [None, ["QUEUED"], ["QUEUED"]]

    asyncio.run(scenario())


def test_a_call_that_the_dead_engine_does_not_answer_fails() -> None:
    async def scenario() -> None:
        run = Scenario()
        call = run.first.utility_results[1] = asyncio.get_running_loop().create_future()
        run.link.lose()
        assert call.exception() is DIED

    asyncio.run(scenario())
