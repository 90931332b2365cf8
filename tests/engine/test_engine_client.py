"""Reservations and counts of our engine client per client request, on a stand-in for vLLM's client."""

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from maritalk_vllm.engine.engine_client import LimitedClient, prompt_length
from maritalk_vllm.engine.request_context import RequestContext, current
from maritalk_vllm.engine.request_usage import UsageTotals
from maritalk_vllm.engine.service_tier import ServiceTier
from maritalk_vllm.engine.shared_load import SharedLoad, size_bytes
from maritalk_vllm.errors import RequestError, TooManyRequests

CONTEXT_LENGTH = 100


class Processor:
    """Stands for vLLM's OutputProcessor."""

    def __init__(self) -> None:
        self.request_states: dict[str, Any] = {}

    def add_request(self, request: Any, prompt: None, parent: None, index: int, queue: None = None) -> None:
        times = dict.fromkeys(("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"), 0.0)
        stats = SimpleNamespace(num_generation_tokens=0, **times)
        self.request_states[request.request_id] = SimpleNamespace(prompt_len=len(request.prompt), stats=stats)


class Engine:
    """Stands for AsyncLLM: generates `tokens` tokens of each of `n` answers, one at a time."""

    model_config = SimpleNamespace(max_model_len=CONTEXT_LENGTH)

    def __init__(self, tokens: int = 3) -> None:
        self.output_processor = Processor()
        self.started: list[str] = []
        self.priorities: list[int] = []
        self._tokens = tokens

    def get_num_queued_tokens(self) -> int:
        return 0

    async def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, priority: int = 0
    ) -> AsyncGenerator[int, None]:
        self.started.append(request_id)
        self.priorities.append(priority)
        names = [f"{request_id}-{number}" for number in range(sampling_params.n)]
        for number, name in enumerate(names):
            request = SimpleNamespace(request_id=name, prompt=prompt["prompt_token_ids"])
            self.output_processor.add_request(request, None, None, number, None)
        # Our client reads these objects, also after vLLM has forgotten the request.
        answers = [self.output_processor.request_states.pop(name).stats for name in names]
        for token in range(self._tokens):
            for answer in answers:
                answer.num_generation_tokens += 1
            yield token


class Client(LimitedClient, Engine):
    """Such an engine's client, with our limits and accounting."""


class Allowance:
    """Records what is reserved, and rejects what follows after `error` is set."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int, int, bool]] = []
        self.error: Exception | None = None

    def take(self, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool) -> None:
        if self.error is not None:
            raise self.error
        self.taken.append((prompt_tokens, answers, answer_tokens, is_open))


def sampling(n: int = 1, max_tokens: int | None = 5, stream_interval: int | None = None) -> Any:
    return SimpleNamespace(
        n=n, max_tokens=max_tokens, logprobs=None, prompt_logprobs=None, stream_interval=stream_interval
    )


PROMPT = {"prompt_token_ids": [1] * 7}


def add(client: Client, *numbers: str, tier: ServiceTier = ServiceTier.DEFAULT) -> None:
    """Add requests of a tier that do not end."""
    current.set(RequestContext(tier=tier))
    for number in numbers:
        request = SimpleNamespace(request_id=number, prompt=PROMPT["prompt_token_ids"])
        client.output_processor.add_request(request, None, None, 0)


def used(context: RequestContext) -> tuple[int, int]:
    totals: UsageTotals = context.usage.totals
    return totals.prompt_tokens, totals.completion_tokens


async def read(client: Client, number: str, parameters: Any, events: int | None = None) -> None:
    """Read the outputs of a request, and close it after `events` of them, as an abort does."""
    outputs = client.generate(PROMPT, parameters, number)
    async for token in outputs:
        if token + 1 == events:
            await outputs.aclose()
            return


def test_a_prompt_counts_once_and_each_answer_by_its_tokens() -> None:
    async def scenario() -> None:
        client, context = Client(), RequestContext()
        current.set(context)
        await read(client, "a", sampling(n=4))
        assert used(context) == (7, 12)
        # A further prompt of the same client request.
        await read(client, "b", sampling())
        assert used(context) == (14, 15)

    asyncio.run(scenario())


def test_an_aborted_request_counts_what_was_generated() -> None:
    async def scenario() -> None:
        context = RequestContext()
        current.set(context)
        await read(Client(tokens=9), "a", sampling(n=2), events=2)
        assert used(context) == (7, 4)

    asyncio.run(scenario())


def test_concurrent_requests_count_separately_also_from_tasks_of_a_route() -> None:
    """vLLM's routes run their handler, and each prompt of a batch, in tasks of their own."""

    async def request(client: Client, prompts: int) -> RequestContext:
        context = RequestContext()
        current.set(context)
        await asyncio.gather(*(read(client, f"{prompts}-{number}", sampling()) for number in range(prompts)))
        return context

    async def scenario() -> None:
        client = Client()
        one, two, none = await asyncio.gather(
            request(client, 1), request(client, 2), read(client, "warm-up", sampling())
        )
        assert (used(one), used(two), none) == ((7, 3), (14, 6), None)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("max_tokens", "expected"),
    [(5, (7, 2, 5, False)), (None, (7, 2, 93, True)), (93, (7, 2, 93, True)), (500, (7, 2, 93, True))],
)
def test_the_longest_answers_are_reserved(max_tokens: int | None, expected: tuple[int, int, int, bool]) -> None:
    async def scenario() -> None:
        context, allowance = RequestContext(), Allowance()
        context.usage.allowance = allowance
        current.set(context)
        await read(Client(), "a", sampling(2, max_tokens))
        assert allowance.taken == [expected]

    asyncio.run(scenario())


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("error", [TooManyRequests("Wait."), RequestError("Too much.")])
def test_a_request_over_its_allowance_is_rejected_before_it_is_read(error: Exception) -> None:
    from vllm.exceptions import GracefulHTTPError, VLLMValidationError

    async def scenario() -> None:
        context, allowance, client = RequestContext(), Allowance(), Client()
        context.usage.allowance, allowance.error = allowance, error
        current.set(context)
        # At the call, and not when the outputs are read: by then, vLLM's streams have begun their response.
        with pytest.raises((GracefulHTTPError, VLLMValidationError)) as raised:
            client.generate(PROMPT, sampling(), "a")
        assert raised.value.__cause__ is error
        assert (client.started, used(context)) == ([], (0, 0))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_interval", "operator_interval", "has_tools", "expected"),
    [
        (None, None, False, None),
        (None, None, True, 1),
        (None, 4, False, 4),
        (None, 4, True, 4),
        (None, 1, False, 1),
        (2, 4, True, 2),
    ],
)
def test_request_operator_and_tools_set_the_stream_interval(
    request_interval: int | None, operator_interval: int | None, has_tools: bool, expected: int | None
) -> None:
    async def scenario() -> None:
        client = Client()
        client.stream_interval = operator_interval
        current.set(RequestContext(has_tools=has_tools))
        parameters = sampling(stream_interval=request_interval)
        await read(client, "a", parameters)
        assert parameters.stream_interval == expected

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("prompt", "length"),
    [
        ({"prompt_token_ids": [1, 2]}, 2),
        ({"prompt_embeds": [0.0] * 3}, 3),
        ({"prompt_token_ids": None, "prompt_embeds": [0.0] * 3}, 3),
        ({"decoder_prompt": {"prompt_token_ids": [1]}, "encoder_prompt": {"prompt_token_ids": [1] * 9}}, 1),
    ],
)
def test_length_of_a_prompt(prompt: dict[str, Any], length: int) -> None:
    assert prompt_length(prompt) == length


def test_a_tier_decides_the_priority() -> None:
    """Regardless of the body's `priority`, which vLLM's routes pass on. A request without a context keeps its own."""

    async def scenario() -> None:
        client = Client()
        for tier in ServiceTier:
            current.set(RequestContext(tier=tier))
            async for _ in client.generate(PROMPT, sampling(), tier.value, priority=-7):
                pass
        current.set(None)
        async for _ in client.generate(PROMPT, sampling(), "warm-up"):
            pass
        assert client.priorities == [0, 1, 2, 0]

    asyncio.run(scenario())


def test_the_requests_for_lines_of_batches_are_counted_until_they_end() -> None:
    client = Client()
    add(client, "a", "b", "c", tier=ServiceTier.BATCH)  # c is another answer to b
    add(client, "d")
    add(client, "e", tier=ServiceTier.FLEX)
    assert client.get_num_unfinished_lines() == 3
    del client.output_processor.request_states["b"]
    assert client.get_num_unfinished_lines() == 2


def test_a_process_counts_the_lines_of_all() -> None:
    memory = memoryview(bytearray(size_bytes(2)))
    worker, other = Client(), Client()
    for index, client in enumerate((worker, other)):
        client.share_load(SharedLoad(memory, index, 2))
    add(worker, "a", "b", tier=ServiceTier.BATCH)
    add(other, "c")
    worker.publish_load()
    assert [each.get_num_unfinished_lines() for each in (worker, other)] == [2, 2]
