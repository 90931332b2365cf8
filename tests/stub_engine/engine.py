"""The stub engine: a process whose steps generate one token for each request, and its client."""

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
from maritalk_vllm.engine.engine_client import LimitedClient
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
    """Run the engine process: one step per token of each request, until the client closes its end of the pipe."""
    theirs.close()
    setproctitle.setproctitle(TITLE)
    remaining: dict[int, int] = {}
    try:
        while True:
            while ours.poll(0 if remaining else None):
                request, tokens = ours.recv()
                if tokens:
                    remaining[request] = tokens
                else:
                    remaining.pop(request, None)
            time.sleep(STEP_SECONDS)
            if remaining:
                ours.send(list(remaining))
            remaining = {request: tokens - 1 for request, tokens in remaining.items() if tokens > 1}
    except (EOFError, OSError):
        return


class Processor:
    """Replaces vLLM's `OutputProcessor`: records the states of added requests."""

    def __init__(self) -> None:
        self.request_states: dict[str, SimpleNamespace] = {}

    def add_request(self, request: Any, prompt: None, parent: None, index: int) -> None:
        """Add a request."""
        stats = SimpleNamespace(
            num_generation_tokens=0, queued_ts=0.0, scheduled_ts=0.0, first_token_ts=0.0, last_token_ts=0.0
        )
        state = SimpleNamespace(prompt_len=len(request.prompt_token_ids), stats=stats)
        self.request_states[request.request_id] = state


class StubLLM:
    """Replaces vLLM's `AsyncLLM`, without a limit of requests."""

    vllm_config = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_queued_reqs=None))
    model_config = SimpleNamespace(max_model_len=1_000_000)

    def __init__(self, watchdog: StepWatchdog) -> None:
        """Fork the engine process."""
        self._watchdog = watchdog
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

    async def generate(self, prompt: Any, sampling_params: Any) -> AsyncGenerator[SimpleNamespace, None]:
        """Yield an output for each token."""
        tokens = sampling_params.max_tokens
        if not self.waiting:
            asyncio.get_running_loop().add_reader(self._ours.fileno(), self._receive_step)
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
        except OSError:  # the engine has died, which the API process detects
            self._stop_reading()

    def _receive_step(self) -> None:
        try:
            stepped = self._ours.recv()
        except (EOFError, OSError):
            self._stop_reading()
            return
        self._watchdog.record_step()
        for request in stepped:
            if request in self.waiting:
                self.waiting[request].put_nowait(None)

    def _stop_reading(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ours.fileno())

    def check_admission(self, n: int = 1) -> None:
        """Accept all requests."""

    def shutdown(self, timeout: float) -> None:
        """Stop the engine process."""
        reach("stopping")
        self._ours.close()
        self.process.join(timeout)
        self.process.kill()


class Client(LimitedClient, StubLLM):
    """The stub's client, with our own limits and accounting."""


class StubGenerator:
    """Replaces maritalk_vllm.engine.generator.Generator: generates the same token max_tokens times."""

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
                )  # as in engine/exception_mapping.py
        parts: Sequence[Piece | Completion] = [part async for part in self.stream(prompt, sampling)]
        assert isinstance(parts[-1], Completion)
        return parts[-1]

    async def stream(self, prompt: Prompt, sampling: Sampling, tokens_per_piece: int | None = None) -> Parts:
        tokens = sampling.max_tokens or 1
        rendered = {"prompt_token_ids": (1, 2, 3)}
        parameters = SimpleNamespace(n=1, max_tokens=tokens, logprobs=None, prompt_logprobs=None)
        async for _ in self._client.generate(rendered, parameters):
            yield Piece(0, TOKEN)
        yield Completion(
            choices=(Choice(TOKEN * tokens, "length"),),
            prompt_tokens=3,
            completion_tokens=tokens,
            queue_time=0.0,
            prompt_time=STEP_SECONDS,
            generation_time=tokens * STEP_SECONDS,
        )
