"""The stub engine: a process whose steps generate one token for each request, and its client."""

import asyncio
import contextlib
import itertools
import multiprocessing.connection
import os
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from multiprocessing.connection import Connection, Listener
from multiprocessing.synchronize import Event
from types import SimpleNamespace
from typing import Any, NoReturn

import setproctitle
from prometheus_client import Gauge

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
ABORT_CLIENT = "abort client"
"""In place of a request's id: the number that follows is that of a client, not of tokens."""

_fork = multiprocessing.get_context("fork")


class _Loop:
    """The engine process: one step per token of each request. It ends with none of its clients, as vLLM's engine."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners: dict[Any, tuple[int, Listener]] = {}
        for client, listener in enumerate(listeners):
            self._listeners[listener._listener._socket] = client, listener  # type: ignore[attr-defined]
        self._clients: dict[Connection, int] = {}
        self._remaining: dict[tuple[int, str], int] = {}

    def run(self) -> NoReturn:
        while True:
            waiting: list[Any] = [*self._listeners, *self._clients]
            for each in multiprocessing.connection.wait(waiting, 0 if self._remaining else None):
                if isinstance(each, Connection):
                    self._receive(each)
                else:
                    client, listener = self._listeners.pop(each)  # an address is used once
                    connection = listener.accept()
                    connection.send([])
                    self._clients[connection] = client
            time.sleep(STEP_SECONDS)
            for connection, client in self._clients.items():
                if step := [request for owner, request in self._remaining if owner == client]:
                    with contextlib.suppress(OSError):  # it is noticed when it is read
                        connection.send(step)
            self._remaining = {key: tokens - 1 for key, tokens in self._remaining.items() if tokens > 1}

    def _receive(self, connection: Connection) -> None:
        client = self._clients[connection]
        try:
            request, tokens = connection.recv()
        except (EOFError, OSError):
            del self._clients[connection]
            return
        if request == ABORT_CLIENT:
            for key in [key for key in self._remaining if key[0] == tokens]:
                del self._remaining[key]
                reach("aborted")
        elif tokens:
            self._remaining[client, request] = tokens
        else:
            self._remaining.pop((client, request), None)


def _compute(listeners: Sequence[Listener], loaded: Event) -> NoReturn:
    """Run the engine process."""
    setproctitle.setproctitle(TITLE)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    loaded.wait()
    _Loop(listeners).run()


class Engine:
    """The engine process of the stub, which listens in the temporary folder of the server."""

    def __init__(self, addresses: int) -> None:
        """Fork the engine process."""
        paths = [tempfile.mktemp(prefix="engine-") for _ in range(addresses)]
        self._listeners = [Listener(path, "AF_UNIX") for path in paths]  # each removes its path when it is freed
        self.addresses = [EngineAddress(path, path, client=client) for client, path in enumerate(paths)]
        self._loaded = _fork.Event()
        self._process = _fork.Process(target=_compute, args=(self._listeners, self._loaded), daemon=True)
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
        self.admission_stats: Any = None
        self.running: Gauge | None = None

    def _count(self) -> None:
        number = len(self.request_states)
        if self.admission_stats is not None:
            self.admission_stats.set_num_requests(number)
        if self.running is not None:
            self.running.set(number)

    def add_request(self, request: Any, prompt: None, parent: None, index: int) -> None:
        """Add a request."""
        self.request_states[request.request_id] = State(request)
        self._count()

    def abort_requests(self, request_ids: Sequence[str], *, internal: bool) -> None:
        """Forget requests."""
        for each in request_ids:
            self.request_states.pop(each, None)
        self._count()


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

    def abort_client(self, client: int) -> None:
        """Have the engine stop the requests of another client."""
        self._send(ABORT_CLIENT, client)

    async def get_output_async(self) -> SimpleNamespace:
        """The tokens of the next step."""
        if not self._is_reading:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._connection.fileno(), self._receive_step)
            # uvloop has made it non-blocking: a step that arrives in two parts would be an error.
            os.set_blocking(self._connection.fileno(), True)
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

    vllm_config = SimpleNamespace(
        scheduler_config=SimpleNamespace(max_num_queued_reqs=None, max_num_seqs=64),
        parallel_config=SimpleNamespace(data_parallel_size=1),
        device_config=SimpleNamespace(device_type="cpu"),
    )
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

    async def generate(
        self, prompt: Any, sampling_params: Any, priority: int = 0
    ) -> AsyncGenerator[SimpleNamespace, None]:
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

    def get_num_unfinished_requests(self) -> int:
        """The number of requests of this client."""
        return len(self.output_processor.request_states)

    def get_num_queued_tokens(self) -> int:
        """None waits for its first token for long."""
        return 0

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
        return int(self._client.get_num_unfinished_requests())

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
            stream_interval=tokens_per_piece,
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
