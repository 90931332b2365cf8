"""The stub engine: a process whose steps generate one token for each request, and its client."""

import asyncio
import contextlib
import itertools
import multiprocessing.connection
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from multiprocessing.connection import Connection, Listener
from multiprocessing.synchronize import Event
from types import SimpleNamespace
from typing import Any

import setproctitle

from maritalk_vllm.engine.completion import Choice, Completion, Piece
from maritalk_vllm.engine.engine_address import EngineAddress
from maritalk_vllm.engine.engine_client import LimitedClient
from maritalk_vllm.engine.generator import Parts, Prompt
from maritalk_vllm.engine.resilient_core import ResilientCore
from maritalk_vllm.engine.sampling import Sampling
from maritalk_vllm.engine.step_watchdog import StepWatchdog
from tests.stub_engine.script import reach

TITLE = "VLLM::EngineCore of the stub"
STEP_SECONDS = 0.01
TOKEN = " token"

_fork = multiprocessing.get_context("fork")


def _compute(listener: Listener, loaded: Event) -> None:
    """Run the engine process: one step per token of each request, until its client disconnects."""
    setproctitle.setproctitle(TITLE)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ours = listener.accept()
    loaded.wait()
    ours.send([])
    remaining: dict[str, int] = {}
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
    except (EOFError, OSError):  # the API process has gone, which does not end vLLM's engine either
        while True:
            signal.pause()


class Engine:
    """The engine process of the stub, which listens in the temporary folder of the server."""

    def __init__(self) -> None:
        """Fork the engine process."""
        path = tempfile.mktemp(prefix="engine-")
        self._listener = Listener(path, "AF_UNIX")  # removes the path when it is freed
        self.address = EngineAddress(path, path)
        self._loaded = _fork.Event()
        self._process = _fork.Process(target=_compute, args=(self._listener, self._loaded), daemon=True)
        self._process.start()

    def load(self) -> None:
        reach("loading")
        self._loaded.set()

    def wait(self) -> str:
        """Block until the engine process exits, and describe how."""
        self._process.join()
        code = self._process.exitcode or 0
        return f"the engine's process was killed by {signal.Signals(-code).name}" if code < 0 else ""

    def shutdown(self, timeout: float) -> None:
        """Stop the engine process."""
        reach("stopping")
        self._process.terminate()
        self._process.join(timeout)
        self._process.kill()


class Workers:
    """A follower's workers, which compute nothing: the stub engine of the leader needs none."""

    def __init__(self) -> None:
        """Fork a worker."""
        self._process = _fork.Process(target=signal.pause, daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Block until the worker exits."""
        self._process.join()

    def shutdown(self) -> None:
        """Stop the worker."""
        self._process.kill()


class Detokenizer:
    """Replaces vLLM's: the tokens that a request has received."""

    def __init__(self) -> None:
        self.output_token_ids: list[int] = []


class Collector(asyncio.Queue[Exception | None]):
    """Replaces vLLM's `RequestOutputCollector`: a token, or the error with which the request ends."""

    put = asyncio.Queue.put_nowait  # type: ignore[assignment]


class State:
    """Replaces vLLM's `RequestState`."""

    parent_req = None

    def __init__(self, request: Any) -> None:
        self.request_id = request.request_id
        self.prompt_len = len(request.prompt_token_ids)
        self.output_kind = SimpleNamespace(name="DELTA")
        self.detokenizer = Detokenizer()
        self.queue: Collector | None = Collector()
        self.stats = SimpleNamespace(
            num_generation_tokens=0, queued_ts=0.0, scheduled_ts=0.0, first_token_ts=0.0, last_token_ts=0.0
        )


class Processor:
    """Replaces vLLM's `OutputProcessor`: records the states of added requests."""

    def __init__(self) -> None:
        self.request_states: dict[str, State] = {}

    def add_request(self, request: Any, prompt: None, parent: None, index: int) -> None:
        """Add a request."""
        self.request_states[request.request_id] = State(request)

    def abort_requests(self, request_ids: Sequence[str], *, internal: bool) -> None:
        """Forget requests."""
        for each in request_ids:
            self.request_states.pop(each, None)


class Core:
    """Replaces vLLM's `EngineCoreClient`: one end of the connection to an engine process."""

    def __init__(self, address: EngineAddress) -> None:
        """Connect to the engine process, and wait until it has loaded."""
        self._connection: Connection = multiprocessing.connection.Client(address.input)
        self._connection.recv()
        self._steps: asyncio.Queue[list[str]] = asyncio.Queue()
        self._is_reading = False
        self.resources = SimpleNamespace(engine_dead=False)
        self.utility_results: dict[int, Any] = {}

    async def add_request_async(self, request: Any) -> None:
        """Send a request to the engine."""
        self._send(request.request_id, request.sampling_params.max_tokens)

    async def abort_requests_async(self, request_ids: Sequence[str]) -> None:
        """Have the engine stop requests."""
        for each in request_ids:
            self._send(each, 0)

    async def get_output_async(self) -> SimpleNamespace:
        """The tokens of the next step."""
        if not self._is_reading:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._connection.fileno(), self._receive_step)
        step = await self._steps.get()
        if self.resources.engine_dead:
            raise RuntimeError
        return SimpleNamespace(outputs=[SimpleNamespace(request_id=each, events=None) for each in step])

    def _send(self, request: str, tokens: int) -> None:
        # The engine may have died, which the server detects.
        with contextlib.suppress(OSError):
            self._connection.send((request, tokens))

    def _receive_step(self) -> None:
        try:
            self._steps.put_nowait(self._connection.recv())
        except (EOFError, OSError):
            self._stop_reading()

    def _stop_reading(self) -> None:
        if self._is_reading and not self._connection.closed:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                asyncio.get_running_loop().remove_reader(self._connection.fileno())

    def shutdown(self) -> None:
        """Disconnect from the engine process."""
        self._stop_reading()
        self.resources.engine_dead = True
        self._connection.close()
        self._steps.put_nowait([])


class StubLLM:
    """Replaces vLLM's `AsyncLLM`, without a limit of requests."""

    vllm_config = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_queued_reqs=None))
    model_config = SimpleNamespace(max_model_len=1_000_000)

    def __init__(self, watchdog: StepWatchdog, address: EngineAddress) -> None:
        """Connect to the engine process, and wait until it has loaded."""
        self._watchdog = watchdog
        self._numbers = itertools.count(1)
        self._reading: asyncio.Task[None] | None = None
        self.output_processor = Processor()
        self.engine_core = ResilientCore(Core(address), self.output_processor, lambda error: error)
        self.renderer = SimpleNamespace(
            tokenizer=SimpleNamespace(max_chars_per_token=1), _tokenize_prompt=None, _tokenize_prompt_async=None
        )

    async def generate(self, prompt: Any, sampling_params: Any) -> AsyncGenerator[SimpleNamespace, None]:
        """Yield an output for each token."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_steps())
        request = SimpleNamespace(
            request_id=str(next(self._numbers)),
            prompt_token_ids=prompt["prompt_token_ids"],
            sampling_params=sampling_params,
            resumable=False,
            mm_features=None,
            prompt_embeds=None,
        )
        self.output_processor.add_request(request, None, None, 0)
        state = self.output_processor.request_states[request.request_id]
        queue = state.queue
        assert queue is not None
        try:
            await self.engine_core.add_request_async(request)
            for _ in range(sampling_params.max_tokens):
                if (error := await queue.get()) is not None:
                    raise error
                state.stats.num_generation_tokens += 1
                yield SimpleNamespace(prompt_token_ids=prompt["prompt_token_ids"])
        finally:
            self.output_processor.abort_requests([request.request_id], internal=True)
            await self.engine_core.abort_requests_async([request.request_id])

    async def _read_steps(self) -> None:
        while True:
            step: Any = await self.engine_core.get_output_async()
            states = self.output_processor.request_states
            first = (states[each.request_id] for each in step.outputs if each.request_id in states)
            self._watchdog.record_step(sum(each.prompt_len for each in first if not each.detokenizer.output_token_ids))
            for output in step.outputs:
                state = states.get(output.request_id)
                if state is not None and state.queue is not None:
                    state.detokenizer.output_token_ids.append(0)
                    state.queue.put_nowait(None)

    def check_admission(self, n: int = 1) -> None:
        """Accept all requests."""

    def shutdown(self) -> None:
        """Disconnect from the engine process."""
        self.engine_core.shutdown()


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
        return len(self._client.output_processor.request_states)

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        if not self._is_warm:
            self._is_warm = True
            reach("warming_up")
        parts: Sequence[Piece | Completion] = [part async for part in self.stream(prompt, sampling)]
        assert isinstance(parts[-1], Completion)
        return parts[-1]

    async def stream(self, prompt: Prompt, sampling: Sampling, tokens_per_piece: int | None = None) -> Parts:
        tokens = sampling.max_tokens or 1
        rendered = {"prompt_token_ids": (1, 2, 3)}
        unset = ("structured_outputs", "bad_words", "thinking_token_budget", "repetition_detection", "extra_args")
        parameters = SimpleNamespace(
            n=1,
            max_tokens=tokens,
            min_tokens=0,
            logprobs=None,
            prompt_logprobs=None,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            seed=None,
            temperature=1.0,
            **dict.fromkeys(unset),
        )
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
