"""vLLM's own states of requests across a change of the engine: texts, tokens and errors as without one."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maritalk_vllm.engine.exception_mapping import to_vllm_error
from maritalk_vllm.engine.resilient_core import DIED, ResilientCore
from maritalk_vllm.models import demo_model
from tests.demo_model import PROFILE
from tests.engine.test_resilient_core import Core

# In the engine lane because it imports vLLM; no engine is started.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

TEXT = "olá 😀🎉, ação: 1 2 3 STOP and what follows"


@pytest.fixture(scope="module")
def tokenizer(prepared_cache: Path) -> Any:
    from vllm.tokenizers import get_tokenizer

    return get_tokenizer(str(demo_model.folder(PROFILE, prepared_cache)))


class Requests:
    """AsyncLLM's side of one request, whose engine generates the tokens of TEXT."""

    def __init__(self, tokenizer: Any, **parameters: Any) -> None:
        from vllm.sampling_params import SamplingParams
        from vllm.v1.engine import EngineCoreRequest
        from vllm.v1.engine.output_processor import OutputProcessor, RequestOutputCollector

        self.processor = OutputProcessor(tokenizer, log_stats=True)
        self.link = ResilientCore(Core(), self.processor, to_vllm_error)
        self.core = self.link._core
        self.tokens = tokenizer.encode(TEXT, add_special_tokens=False)
        parameters = {"max_tokens": len(self.tokens), **parameters}
        self.request = EngineCoreRequest(
            request_id="a",
            external_req_id="external",
            prompt_token_ids=[1, 2, 3],
            mm_features=None,
            sampling_params=SamplingParams(**parameters),
            pooling_params=None,
            arrival_time=0.0,
            lora_request=None,
            cache_salt=None,
            data_parallel_rank=None,
        )
        self.queue = RequestOutputCollector(self.request.params.output_kind, "a")
        self.outputs: list[Any] = []

    async def submit(self) -> None:
        self.processor.add_request(self.request, None, None, 0, self.queue)
        await self.link.add_request_async(self.request)

    async def change_engine(self) -> Any:
        """The request that the next engine gets, if any."""
        self.link.lose()
        self.core = Core()
        await self.link.resume(self.core)
        return self.core.submitted[0] if self.core.submitted else None

    def generate(self, tokens: list[int], *, is_last: bool = False) -> None:
        """Receive these tokens, one at a time, and what the client is sent for them."""
        from vllm.v1.engine import EngineCoreOutput, FinishReason
        from vllm.v1.metrics.stats import IterationStats

        for number, token in enumerate(tokens):
            reason = FinishReason.LENGTH if is_last and number == len(tokens) - 1 else None
            output = EngineCoreOutput("a", [token], finish_reason=reason)
            self.processor.process_outputs([output], 1.0, IterationStats())
            if (sent := self.queue.get_nowait()) is not None:
                self.outputs.append(sent)


async def answer(tokenizer: Any, seam: int | None, **parameters: Any) -> list[Any]:
    """What a client is sent; the engine changes after `seam` tokens."""
    requests = Requests(tokenizer, **parameters)
    await requests.submit()
    if seam is not None:
        requests.generate(requests.tokens[:seam])
        if "a" in requests.processor.request_states:
            request = await requests.change_engine()
            known = len(request.prompt_token_ids) - 3
            assert request.sampling_params.max_tokens == len(requests.tokens) - known
            requests.generate(requests.tokens[known:], is_last=True)
    else:
        requests.generate(requests.tokens, is_last=True)
    last = requests.outputs[-1]
    assert last.finished
    assert last.prompt_token_ids == [1, 2, 3]
    choices = [each.outputs[0] for each in requests.outputs]
    received = choices if parameters["output_kind"].name == "DELTA" else choices[-1:]
    assert last.metrics.num_generation_tokens == sum(len(each.token_ids) for each in received)
    return [(each.text, list(each.token_ids), each.finish_reason, each.stop_reason) for each in choices]


@pytest.mark.parametrize("stop", [None, ["STOP"], ["P a", "😀🎉, a"]], ids=["whole", "stop", "emoji"])
@pytest.mark.parametrize("kind", ["DELTA", "CUMULATIVE", "FINAL_ONLY"])
def test_an_answer_is_the_same_wherever_the_engine_changes(tokenizer: Any, kind: str, stop: list[str] | None) -> None:
    from vllm.sampling_params import RequestOutputKind

    async def scenario() -> None:
        parameters = {"output_kind": RequestOutputKind[kind], "stop": stop}
        expected = await answer(tokenizer, None, **parameters)
        tokens = len(tokenizer.encode(TEXT, add_special_tokens=False))
        for seam in range(tokens):
            assert await answer(tokenizer, seam, **parameters) == expected

    asyncio.run(scenario())


def test_a_request_is_generated_again_or_ends_with_the_error_of_vllms_routes(tokenizer: Any) -> None:
    from vllm.exceptions import GracefulHTTPError
    from vllm.sampling_params import RequestOutputKind

    async def scenario() -> None:
        inexact = {"presence_penalty": 1.0}
        expected = await answer(tokenizer, None, output_kind=RequestOutputKind.FINAL_ONLY)
        assert await answer(tokenizer, 5, output_kind=RequestOutputKind.FINAL_ONLY, **inexact) == expected

        stream = Requests(tokenizer, output_kind=RequestOutputKind.DELTA, **inexact)
        await stream.submit()
        stream.generate(stream.tokens[:2])
        assert await stream.change_engine() is None
        with pytest.raises(GracefulHTTPError) as raised:
            stream.queue.get_nowait()
        assert raised.value.__cause__ is DIED
        assert (stream.processor.request_states, dict(stream.processor.external_req_ids)) == ({}, {})

    asyncio.run(scenario())


def test_all_answers_to_a_prompt_end_together(tokenizer: Any) -> None:
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.parallel_sampling import ParentRequest

    async def scenario() -> None:
        requests = Requests(tokenizer, n=2, output_kind=RequestOutputKind.DELTA, presence_penalty=1.0)
        parent = ParentRequest(requests.request)
        for index in range(2):
            name, parameters = parent.get_child_info(index)
            child: Any = SimpleNamespace(
                **{each: getattr(requests.request, each) for each in requests.request.__struct_fields__}
            )
            child.request_id, child.sampling_params = name, parameters
            requests.processor.add_request(child, None, parent, index, requests.queue)
            await requests.link.add_request_async(child)
        first = requests.processor.request_states["0_a"]
        assert first.detokenizer is not None
        first.detokenizer.update(requests.tokens[:1], False)
        assert await requests.change_engine() is None
        assert (requests.processor.request_states, requests.processor.parent_requests) == ({}, {})

    asyncio.run(scenario())
