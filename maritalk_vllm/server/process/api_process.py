"""The API process: vLLM's engine and application, with our routes, on the socket that it inherits."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from argparse import Namespace
from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
import uvloop
from prometheus_client import REGISTRY

from ... import __version__
from ...api.fast_path import FastPath
from ...api.openai_adapter import MaritacaAPI
from ...api.openapi import use_relative_docs_urls
from ...api.vllm_plugin import MariTalkPlugin
from ...engine import admission, logprob_limits, prompt_limits, startup_errors, vllm_launcher
from ...engine.generator import Generator
from ...engine.log_redaction import mask_secrets
from ...engine.request_usage import enforce_allowances, record_usage
from ...engine.sampling import Message as Turn
from ...engine.sampling import Sampling
from ...engine.step_watchdog import StepWatchdog
from ...errors import EngineError, RequestError, Unavailable
from ...http.certificate import Identity
from ...http.connection_transfer import TransferableProtocol
from ...http.uvicorn_server import WebServer, config
from ...masking import secrets_of
from ...settings import TimeUnit
from ..middleware.access_config import AccessConfig, MiddlewareStack
from ..middleware.in_flight import InFlightRequests
from ..middleware.request_metrics import RequestMetrics
from ..middleware.root_path import AddRootPath
from ..middleware.route_labels import RouteLabels, is_offered
from ..status import server_metrics
from ..status.server_state import Phase, ServerState
from ..status.startup_timings import StartupStep, StartupTimings
from .heartbeat import BEAT_SECONDS
from .ipc_channel import Channel, Message, MessageLost

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

ENGINE_STOP_SECONDS = 3
"""How long the engine's processes may take to end by themselves: killed, they leave their shared memory behind."""

LAST_WORD_SECONDS = 2
"""How long the last answers to in-flight requests may take."""

REQUEST_SECONDS = 2.0
"""How long a request may take whose connection can be passed on to no other process."""

_ASK_SECONDS = 1.0
"""How soon a word of the supervisor's that was lost is asked for again."""

_log = logging.getLogger(__name__)

_WATCH_SECONDS = 0.2
_LOOK_SECONDS = 0.02

_STOPPING = Unavailable("The server is stopping.", "Try again in a moment.")
_OUT_OF_TIME = Unavailable("The server is stopping, and does not wait for this request any longer.", "Send it again.")
_GONE = Unavailable("This server's process is ending.", "Try again in a moment.")
_DEAD = Unavailable("The engine has died, and is started again.", "Try again in a moment.")


def serve(order: Message, channel: Channel) -> None:
    """Load the model and serve until SIGTERM.

    `order`: engine_args, environment, socket and words (descriptors), time_unit, access, files, history, drain_timeout
    and engine_timeout (seconds), log (a file). What is said on `words` is an error for which it has to end, or what of
    the order is to be otherwise. Raises EngineError if the engine does not start, dies, hangs or has to end, and
    UsageError for a flag that vLLM does not know.
    """
    listener = socket.socket(fileno=order["socket"])
    words = Channel.inherited(order["words"])
    # A process that is forked below would keep the port open beyond our end.
    os.register_at_fork(after_in_child=listener.close)
    os.register_at_fork(after_in_child=words.close)
    os.environ.update(order["environment"])
    args = vllm_launcher.parse(order["engine_args"])
    mask_secrets(secrets_of(order["engine_args"], os.environ))
    channel.send({"event": "progress", "step": "Loading the model"})
    log, pulse = Path(order["log"]), StepWatchdog()
    with startup_errors.explain_startup_errors(log):
        client = vllm_launcher.start_engine(args, pulse)
    channel.send({"event": "loaded"})
    try:
        uvloop.run(_ApiProcess(client, pulse, order, channel).run(args, listener, words))
    finally:
        client.shutdown(timeout=ENGINE_STOP_SECONDS)


class _ApiProcess:
    def __init__(self, client: "EngineClient", pulse: StepWatchdog, order: Message, channel: Channel) -> None:
        self._client = client
        self._pulse = pulse
        self._order = order
        self._channel = channel
        self._state = ServerState()
        self._history = StartupTimings.from_message(order["history"])
        self._condemned: EngineError | None = None
        self._front: MiddlewareStack | None = None
        self._identity: Identity | None = None

    async def run(self, args: Namespace, listener: socket.socket, words: Channel) -> None:
        """Serve until asked to stop. Raises EngineError if the engine ends before."""
        time_unit = TimeUnit(self._order["time_unit"])
        plugin = MariTalkPlugin(time_unit)
        with startup_errors.explain_startup_errors(
            Path(self._order["log"]), partial(vllm_launcher.describe_engine_exit, self._client)
        ):
            app = await vllm_launcher.build_app(self._client, args)
            app.router.routes[:] = filter(is_offered, app.router.routes)
            plugin.attach_router(app)
            await plugin.init_state(self._client, app.state, args)
            app.title, app.version = "MariTalk on vLLM", __version__
            use_relative_docs_urls(app)
            self._history.mark_done(StartupStep.LOADING)
            self._channel.send({"event": "warming_up"})
            generator: Generator = app.state.maritalk_generator
            await _warm_up(generator)
        record_usage(self._client)
        enforce_allowances(self._client)
        logprob_limits.limit_logprobs(self._client)
        admission.reject_impossible_requests(self._client)
        prompt_limits.reject_long_prompts(self._client)
        # The registry of vLLM's own metrics, which its /metrics shows.
        server_metrics.register(self._state, self._history, REGISTRY)
        paths = (getattr(route, "path", "") for route in app.routes)
        tally = RequestMetrics(REGISTRY, RouteLabels(filter(None, paths)), self._state)
        self._state.transition_to(Phase.READY)
        names, most = app.state.maritalk_names, admission.max_answers(self._client)
        characters = prompt_limits.max_characters(self._client)
        adapted = MaritacaAPI(AddRootPath(app, args.root_path or ""), names, generator.context_length, characters, most)
        flights = InFlightRequests(FastPath(app, args, adapted))
        access = AccessConfig.from_message(self._order["access"])
        self._state.files = self._order["files"]
        self._front = access.build_stack(
            in_flight, self._state, time_unit, request_metrics, has_engine=True, most_answers=most
        )
        self._identity = access.identity()
        web = config(
            self._front,
            self._identity,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=LAST_WORD_SECONDS,
        )
        server = _Server(web, self._channel, self._history)
        # What a start leaves behind stays for good: it need not be looked through at each collection.
        gc.collect()
        gc.freeze()
        stop_asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop_asked.set)
        loop.add_reader(words.fileno(), self._hear, words)
        beating = asyncio.create_task(self._beat())
        ending = asyncio.create_task(self._end_in_time(server, in_flight, generator, stop_asked))
        await server.serve(sockets=[listener])
        ending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ending
        beating.cancel()

    async def _beat(self) -> None:
        """Show the supervisor that this loop runs."""
        while True:
            self._channel.send_if_taken({"event": "beat"})
            await asyncio.sleep(BEAT_SECONDS)

    async def _end_in_time(
        self, server: "_Server", in_flight: InFlightRequests, generator: Generator, stop_asked: asyncio.Event
    ) -> None:
        """Until asked to stop, or until the engine fails, then answer each in-flight request. Raises EngineError."""
        try:
            while not stop_asked.is_set():
                self._check(generator)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop_asked.wait(), _WATCH_SECONDS)
            self._state.transition_to(Phase.DRAINING)
            flights.reject_new(_STOPPING, "draining")
            if not await self._landed(flights, generator):
                flights.abort_all(_OUT_OF_TIME)
        except EngineError as error:
            if self._state.phase is Phase.READY:
                self._state.transition_to(Phase.LOADING)  # again, as soon as this process has ended
            answer = _DEAD if self._condemned is None else Unavailable(error.message, _DEAD.hint)
            in_flight.reject_new(answer, "loading")
            in_flight.abort_all(answer)
            raise
        finally:
            await in_flight.drain(LAST_WORD_SECONDS)
            server.should_exit = True

    async def _landed(self, in_flight: InFlightRequests, generator: Generator) -> bool:
        """Whether all that runs was answered in time. Raises EngineError."""
        deadline = asyncio.get_running_loop().time() + self._order["drain_timeout"]
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if await in_flight.drain(min(left, _WATCH_SECONDS)):
                return True
            self._check(generator)
        return not len(in_flight)

    def _hear(self, words: Channel) -> None:
        loop = asyncio.get_running_loop()
        try:
            word = words.receive()
        except MessageLost as error:
            # It may have revoked a key: the supervisor sends it again when it is asked.
            _log.error(f"What the supervisor has read again cannot be taken over yet: {error.strerror}.")
            loop.call_later(_ASK_SECONDS, self._channel.send_if_taken, {"event": "lost"})
            return
        if word is None:
            loop.remove_reader(words.fileno())
        elif "error" not in word:
            self._take(word)
        else:
            self._condemned = EngineError(word["message"], word["hint"])

    def _take(self, word: Message) -> None:
        """What the supervisor has read anew."""
        self._order |= word
        self._state.files = word["files"]
        access = AccessConfig.from_message(word["access"])
        if self._front is not None:
            self._front.update(access)
        if self._identity is not None and access.certificate is not None:
            self._identity.update(access.certificate)

    def _check(self, generator: Generator) -> None:
        """Raises EngineError if the engine works no more."""
        if self._condemned is not None:
            raise self._condemned
        see_log = f"vLLM's log says why: {self._order['log']}"
        if vllm_launcher.is_dead(self._client):
            raise EngineError("The engine died.", see_log)
        seconds = self._pulse.stalled_seconds(busy=bool(generator.unfinished_requests))
        if seconds > self._order["engine_timeout"]:
            raise EngineError(f"The engine hangs: it made no step for {seconds:.0f} s.", see_log)


class _Server(WebServer):
    """Says when it listens and when it stops, and then leaves its connections to the supervisor."""

    def __init__(self, web: uvicorn.Config, channel: Channel, history: StartupTimings) -> None:
        super().__init__(web)
        self._channel = channel
        self._history = history

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._history.mark_done(StartupStep.WARMING_UP)
        self._history.mark_done(StartupStep.READY)
        self._channel.send({"event": "ready"})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._channel.send({"event": "leaving"})
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + REQUEST_SECONDS
        # Once at least: a connection that was accepted last is here after the next step of the loop, and one of TLS
        # after its handshake.
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            left = [each for each in self._connections if each.waits and not self._passed_on(each)]
            are_coming = any(each.is_incomplete for each in left) or self.server_state.has_pending
            if loop.time() > deadline or not are_coming:
                break
        for connection in self._connections:
            if connection.is_incomplete:
                connection.reject(_GONE)
        await super().shutdown(sockets)

    def _passed_on(self, connection: TransferableProtocol) -> bool:
        """Whether the supervisor has it now."""
        if (copy := connection.export()) is None:
            return False
        descriptor, read = copy
        message = {"event": "connection", "read": b64encode(read).decode(), "is_used": connection.is_used}
        try:
            self._channel.send(message, descriptor)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        connection.detach()
        return True


async def _warm_up(generator: Generator) -> None:
    """One request through all that a user's will go through: the first is slower than any after it."""
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=4)
    for prompt in ("1 2 3", [Turn("user", "olá")]):
        # A model may have no chat template, or a context too short for this; it serves what it can.
        with contextlib.suppress(RequestError):
            await generator.complete(prompt, sampling)
