"""The API process: serves vLLM's application and our routes, for the engine at an address, on an inherited socket."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from argparse import Namespace
from typing import TYPE_CHECKING, Never, assert_never

import uvloop
from prometheus_client import REGISTRY

from ... import __version__
from ...api.docs_page import serve_docs
from ...api.flex_queue import FlexQueue
from ...api.vllm_plugin import MariTalkPlugin
from ...batches import batch_service
from ...batches.batch_service import BatchService
from ...engine import admission, prompt_limits, startup_errors, vllm_launcher
from ...engine.engine_load import EngineLoad
from ...engine.generator import Generator
from ...engine.log_redaction import mask_secrets
from ...engine.resilient_core import DIED
from ...engine.step_watchdog import StepWatchdog
from ...errors import EngineError, Unavailable
from ...http.certificate import Identity
from ...http.uvicorn_server import config
from ...masking import secrets_of
from ..messaging.base_message import MessageError
from ..middleware.in_flight import InFlightRequests
from ..middleware.request_metrics import RequestMetrics
from ..middleware.route_labels import RouteLabels, is_offered
from ..middleware.shared_usage import SharedUsage
from ..middleware.stack import MiddlewareStack, compose, engine_layers
from ..status import server_metrics, summed_metrics
from ..status.server_state import Phase, ServerState
from ..status.startup_timings import StartupStep
from .api_server import ApiServer
from .api_shared_memory import ApiSharedMemory
from .engine_link import EngineLink
from .heartbeat import BEAT_SECONDS
from .ipc_channel import Channel, MessageLost
from .process_messages import (
    CONTROL,
    AbortClient,
    AbortRequests,
    ApiHeartbeat,
    Control,
    EngineLost,
    OpenPort,
    Progress,
    Ready,
    ReportChannel,
    Retire,
    Serve,
    ServingOptions,
    TransferredConnection,
    UpdateLost,
    UpdateOptions,
    UseEngine,
    WarmingUp,
)
from .warm_up import warm_up

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

FINAL_RESPONSE_SECONDS = 2
"""Time limit for sending the final error responses to in-flight requests."""

_RESEND_SECONDS = 1.0
"""Delay before the supervisor is asked to send a lost control message again."""

_log = logging.getLogger(__name__)

_ENGINE_CHECK_SECONDS = 0.2

_GC_THRESHOLD = 20_000
"""How many more objects are made than freed before Python looks for cycles among them. At the default of Python 3.11,
700, that took 5 to 13 % of the processor time of a request, with 64 users and a small model. Few objects need it."""

_TRANSFER_SECONDS = 0.02
"""How soon a connection is transferred after its response, while another engine is to follow."""

_STOPPING = Unavailable("The server is stopping.", "Try again in a moment.")
_REPLACED = Unavailable("The engine is replaced, and does not wait for this request any longer.", "Send it again.")
_OUT_OF_TIME = Unavailable("The server is stopping, and does not wait for this request any longer.", "Send it again.")


def serve(job: Serve, channel: ReportChannel) -> None:
    """Wait until the engine has loaded the model, and serve until SIGTERM.

    Raises EngineError if the engine dies, hangs or is aborted, and UsageError for a flag that vLLM does not know.
    """
    listener = socket.socket(fileno=job.listener)
    control_channel: Channel[Control, Never] = Channel.from_descriptor(job.control_channel.number, CONTROL, None)
    # A forked child would keep the port open after this process has exited.
    os.register_at_fork(after_in_child=listener.close)
    os.register_at_fork(after_in_child=control_channel.close)
    os.environ.update(job.environment)
    args = vllm_launcher.parse(job.engine_args)
    mask_secrets(secrets_of(job.engine_args, os.environ))
    shared = None
    if job.shared_memory is not None:
        shared = ApiSharedMemory.from_descriptor(job.shared_memory.number, job.api_processes)
    load = None if shared is None else shared.load(job.index)
    watchdog = StepWatchdog(load)
    with startup_errors.explain_startup_errors(job.log):
        client = vllm_launcher.connect(args, watchdog, job.engine, load, job.index, job.api_processes)
    usage = None if shared is None else shared.usage(job.index)
    try:
        uvloop.run(_ApiProcess(client, watchdog, job, channel, usage).run(args, listener, control_channel))
    finally:
        client.shutdown()


class _ApiProcess:
    def __init__(
        self,
        client: "EngineClient",
        watchdog: StepWatchdog,
        job: Serve,
        channel: ReportChannel,
        shared_usage: SharedUsage | None,
    ) -> None:
        self._shared_usage = shared_usage
        self._client = client
        self._watchdog = watchdog
        self._job = job
        self._options = job.options
        self._channel = channel
        self._state = ServerState()
        self._timings = job.timings
        self._retirement: Retire | None = None
        self._stop_requested = asyncio.Event()
        self._in_flight = InFlightRequests()
        self._link = EngineLink(client, watchdog, job, channel, self._state, self._in_flight)
        self._front: MiddlewareStack | None = None
        self._identity: Identity | None = None
        self._batches = BatchService(
            job.data_dir, lambda: self._options.batch_retention, lambda: self._options.files_per_key_bytes
        )

    async def run(self, args: Namespace, listener: socket.socket, control_channel: Channel[Control, Never]) -> None:
        """Serve until a stop is requested. Raises EngineError if the engine fails before."""
        plugin = MariTalkPlugin(self._job.time_unit)
        with startup_errors.explain_startup_errors(self._job.log):
            app = await vllm_launcher.build_app(self._client, args)
            app.router.routes[:] = filter(is_offered, app.router.routes)
            plugin.attach_router(app)
            await plugin.init_state(self._client, app.state, args)
            app.title, app.version = "MariTalk on vLLM", __version__
            batch_service.attach(app, self._batches)
            serve_docs(app)
            self._timings.mark_done(StartupStep.LOADING)
            self._channel.send(WarmingUp())
            generator: Generator = app.state.maritalk_generator
            await warm_up(generator)
            self._watchdog.begin()
        prompt_limits.reject_long_prompts(self._client)
        registry = REGISTRY if self._job.api_processes == 1 else summed_metrics.serve_sum(app)
        server_metrics.register(self._state, self._timings, registry)
        paths = (getattr(route, "path", "") for route in app.routes)
        request_metrics = RequestMetrics(REGISTRY, RouteLabels(filter(None, paths)), self._state)
        self._state.transition_to(Phase.READY)
        in_flight, max_answers = self._in_flight, admission.max_answers(self._client)
        load = EngineLoad(
            self._client,
            self._watchdog,
            admission.max_running(self._client),
            is_compute_bound=admission.is_compute_bound(self._client),
        )
        layers = engine_layers(
            app,
            args,
            in_flight,
            app.state.maritalk_names,
            context_length=generator.context_length,
            max_characters=prompt_limits.max_characters(self._client),
            max_answers=max_answers,
            flex=FlexQueue(load, lambda: self._options.flex_timeout),
        )
        inner, access = compose(app, layers), self._options.access
        self._state.files = self._options.file_problems
        self._state.reloads, self._state.not_applied = self._options.reloads, self._options.not_applied
        self._front = MiddlewareStack(
            inner,
            access,
            self._state,
            self._job.time_unit,
            request_metrics,
            is_demo=self._job.is_demo,
            max_answers=max_answers,
            shared_usage=self._shared_usage,
        )
        self._identity = access.identity()
        server_config = config(
            self._front,
            self._identity,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=FINAL_RESPONSE_SECONDS,
        )
        ready = Ready(
            index=self._job.index,
            kv_cache_tokens=vllm_launcher.kv_cache_tokens(self._client),
            max_model_len=generator.context_length,
        )
        server = ApiServer(server_config, self._channel, self._timings, ready, waits=self._job.waits)
        vllm_launcher.cache_environment()
        # Objects made during the start live as long as the process: exclude them from each collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop_requested.set)
        loop.add_reader(control_channel.fileno(), self._on_control_message, control_channel, server)
        heartbeat = asyncio.create_task(self._send_heartbeat())
        self._batches.start(
            inner,
            load,
            lambda: self._state.phase is Phase.READY,
            lambda owner: self._options.access.accepts(owner),
            self._front.batch_budget,
            REGISTRY,
        )
        shutdown = asyncio.create_task(self._stop_or_abort(server, in_flight, generator))
        await server.serve(sockets=[listener])
        shutdown.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shutdown
        heartbeat.cancel()
        await self._batches.close()

    async def _send_heartbeat(self) -> None:
        """Show the supervisor that this event loop runs."""
        while True:
            self._channel.try_send(ApiHeartbeat(self._job.index))
            await asyncio.sleep(BEAT_SECONDS)

    async def _stop_or_abort(self, server: ApiServer, in_flight: InFlightRequests, generator: Generator) -> None:
        """Drain when a stop is requested, or abort all in-flight requests when the engine fails; then stop `server`.

        Raises EngineError if the engine fails.
        """
        try:
            while not self._stop_requested.is_set():
                self._check(generator)
                self._client.publish_load()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ENGINE_CHECK_SECONDS):
                        await self._stop_requested.wait()
            if self._retirement is None or not self._retirement.is_succeeded:
                self._state.transition_to(Phase.DRAINING)
            self._batches.drain()
            if self._retirement is not None:  # requests that still arrive on open connections are answered as well
                in_flight.closes_connections = True
                server.stop_listening()
            else:
                in_flight.reject_new(_STOPPING, "draining")
            if not await self._drain(server, in_flight, generator):
                in_flight.abort_all(_OUT_OF_TIME if self._retirement is None else _REPLACED)
            if self._retirement is not None:
                server.close_waiting()
        except EngineError as error:
            if self._state.phase is Phase.READY:
                self._state.transition_to(Phase.LOADING)  # the engine restarts once this process has exited
            response = DIED if self._link.abort_error is None else Unavailable(error.message, DIED.hint)
            in_flight.reject_new(response, "loading")
            in_flight.abort_all(response)
            raise
        finally:
            await in_flight.drain(FINAL_RESPONSE_SECONDS)
            server.stop()

    async def _drain(self, server: ApiServer, in_flight: InFlightRequests, generator: Generator) -> bool:
        """Wait for all in-flight requests. False if some remain after --drain-timeout. Raises EngineError."""
        deadline = asyncio.get_running_loop().time() + self._options.drain_timeout
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if self._retirement is not None:
                # Until no request is left, or can begin: the end of this process would not wait for it.
                await asyncio.sleep(_TRANSFER_SECONDS)
                server.transfer_connections()
                await asyncio.sleep(0)  # a request that had just arrived is in flight after it
                if not len(in_flight) and not server.expects_requests:
                    return True
            elif await in_flight.drain(min(left, _ENGINE_CHECK_SECONDS)):
                return True
            self._check(generator)
        return not len(in_flight)

    def _on_control_message(self, control_channel: Channel[Control, Never], server: ApiServer) -> None:
        loop = asyncio.get_running_loop()
        try:
            message = control_channel.receive()
        except MessageLost as error:
            # The message may revoke a key: ask the supervisor to send it again.
            _log.error(f"The supervisor's reload cannot be applied yet: {error.strerror}.")
            loop.call_later(_RESEND_SECONDS, self._channel.try_send, UpdateLost(self._job.index))
            return
        except MessageError as error:
            # The message may revoke a key: do not serve on without it.
            self._link.abort_error = error
            return
        match message:
            case None:
                loop.remove_reader(control_channel.fileno())
            case UpdateOptions(options):
                self._apply(options)
            case EngineLost(is_final):
                self._link.lose(is_final=is_final)
            case Progress():
                if self._state.phase is Phase.LOADING:
                    self._state.set_step(message.text, message.fraction)
            case UseEngine(engine, timings):
                self._link.use(engine, timings)
            case OpenPort():
                server.open_port()
            case TransferredConnection():
                server.adopt(socket.socket(fileno=message.socket.number), message.read, is_used=message.is_used)
            case Retire():
                self._retirement = message
                self._stop_requested.set()
            case AbortClient(client):
                self._link.abort_client(client)
            case AbortRequests(report):
                self._link.abort_error = EngineError(report.message, report.hint)
            case _:
                assert_never(message)

    def _apply(self, options: ServingOptions) -> None:
        """Apply options, keys and certificates that the supervisor has reloaded."""
        self._options = options
        self._state.files = options.file_problems
        self._state.reloads, self._state.not_applied = options.reloads, options.not_applied
        if self._front is not None:
            self._front.update(options.access)
        if self._identity is not None and options.access.certificate is not None:
            self._identity.update(options.access.certificate)

    def _check(self, generator: Generator) -> None:
        """Raise EngineError if requests are to end with one."""
        is_busy, stops = bool(generator.unfinished_requests), self._stop_requested.is_set()
        self._link.check(self._options, is_busy=is_busy, stops=stops)
