"""The stub's engine: a process that makes steps, each of which is a token for every request, and the client to it."""

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import AsyncGenerator, Sequence
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import setproctitle

from maritalk_vllm.engine.completion import Choice, Completion, Piece
from maritalk_vllm.engine.generator import Parts, Prompt
from maritalk_vllm.engine.sampling import Sampling
from maritalk_vllm.engine.step_watchdog import StepWatchdog
from maritalk_vllm.errors import Unavailable
from tests.stub_engine.script import reach

TITLE = "VLLM::EngineCore of the stub"
STEP_SECONDS = 0.01
TOKEN = " token"

_fork = multiprocessing.get_context("fork")


def _compute(ours: Connection, theirs: Connection) -> None:
    """In the engine's process: so many steps for each request, until the client hangs up."""
    theirs.close()
    setproctitle.setproctitle(TITLE)
    left: dict[int, int] = {}
    try:
        while True:
            while ours.poll(0 if left else None):
                request, tokens = ours.recv()
                if tokens:
                    left[request] = tokens
                else:
                    left.pop(request, None)
            time.sleep(STEP_SECONDS)
            if left:
                ours.send(list(left))
            left = {request: tokens - 1 for request, tokens in left.items() if tokens > 1}
    except (EOFError, OSError):
        return


class Processor:
    """What `Client` has in place of vLLM's `OutputProcessor`: the requests that it has taken in."""

    def __init__(self) -> None:
        self.request_states: dict[str, SimpleNamespace] = {}

    def add_request(self, request: Any, prompt: None, parent: None, index: int) -> None:
        """One more."""
        stats = SimpleNamespace(
            num_generation_tokens=0, queued_ts=0.0, scheduled_ts=0.0, first_token_ts=0.0, last_token_ts=0.0
        )
        state = SimpleNamespace(prompt_len=len(request.prompt_token_ids), stats=stats)
        self.request_states[request.request_id] = state


class Client:
    """What the API process has in place of vLLM's `EngineClient`. It takes as many requests as there are."""

    vllm_config = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_queued_reqs=None))
    model_config = SimpleNamespace(max_model_len=1_000_000)

    def __init__(self, pulse: StepWatchdog) -> None:
        """Fork the engine's process."""
        self._pulse = pulse
        self._ours, theirs = _fork.Pipe()
        self.process = _fork.Process(target=_compute, args=(theirs, self._ours))
        self.process.start()
        theirs.close()
        self._numbers = itertools.count(1)
        self.waiting: dict[int, asyncio.Queue[None]] = {}
        self.output_processor = Processor()
        self.renderer = SimpleNamespace(
            tokenizer=SimpleNamespace(max_chars_per_token=1), _tokenize_prompt=None, _tokenize_prompt_async=None
        )

    async def generate(self, prompt: Any, parameters: Any) -> AsyncGenerator[SimpleNamespace, None]:
        """An output for each token."""
        tokens = parameters.max_tokens
        if not self.waiting:
            asyncio.get_running_loop().add_reader(self._ours.fileno(), self._take)
        number = next(self._numbers)
        queue = self.waiting[number] = asyncio.Queue()
        request = SimpleNamespace(request_id=str(number), prompt_token_ids=prompt["prompt_token_ids"])
        self.output_processor.add_request(request, None, None, 0)
        stats = self.output_processor.request_states[request.request_id].stats
        try:
            self._send(number, tokens)
            for _ in range(tokens):
                await queue.get()
                stats.num_generation_tokens += 1
                yield SimpleNamespace(prompt_token_ids=prompt["prompt_token_ids"])
        finally:
            del self.waiting[number]
            del self.output_processor.request_states[request.request_id]
            self._send(number, 0)

    def _send(self, request: int, tokens: int) -> None:
        try:
            self._ours.send((request, tokens))
        except OSError:  # it has died, which is noticed elsewhere
            self._leave()

    def _take(self) -> None:
        try:
            stepped = self._ours.recv()
        except (EOFError, OSError):
            self._leave()
            return
        self._pulse.record_step()
        for request in stepped:
            if request in self.waiting:
                self.waiting[request].put_nowait(None)

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ours.fileno())

    def check_admission(self, n: int) -> None:
        """None is refused."""

    def shutdown(self, timeout: float) -> None:
        """End the engine's process."""
        reach("stopping")
        self._ours.close()
        self.process.join(timeout)
        self.process.kill()


class StubGenerator:
    """What our routes have in place of maritalk_vllm.engine.generator.Generator: max_tokens times the same token."""

    context_length = 1_000_000

    def __init__(self, client: Any) -> None:
        self._client = client
        self._is_warm = False

    @property
    def unfinished_requests(self) -> int:
        return len(self._client.waiting)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        if not self._is_warm:
            self._is_warm = True
            reach("warming_up")
            if not self._client.process.is_alive():
                raise Unavailable(
                    "The engine has stopped.", "The server's log says why."
                )  # as engine/exception_mapping.py has it
        parts: Sequence[Piece | Completion] = [part async for part in self.stream(prompt, sampling)]
        assert isinstance(parts[-1], Completion)
        return parts[-1]

    async def stream(self, prompt: Prompt, sampling: Sampling, tokens_per_piece: int | None = None) -> Parts:
        tokens = sampling.max_tokens or 1
        rendered = {"prompt_token_ids": (1, 2, 3)}
        async for _ in self._client.generate(rendered, SimpleNamespace(n=1, max_tokens=tokens)):
            yield Piece(0, TOKEN)
        yield Completion(
            choices=(Choice(TOKEN * tokens, "length"),),
            prompt_tokens=3,
            completion_tokens=tokens,
            queue_time=0.0,
            prompt_time=STEP_SECONDS,
            generation_time=tokens * STEP_SECONDS,
        )
