"""The API process: vLLM's engine and application, with our routes, on the socket that it inherits."""

import asyncio
import contextlib
import os
import signal
import socket
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
import uvloop

from .. import __version__
from ..api.openai import MaritacaAPI
from ..api.plugin import MariTalkPlugin
from ..engine import boot, failure
from ..engine.generate import Generator
from ..engine.request import Message as Turn
from ..engine.request import Sampling
from ..errors import EngineError, RequestError
from ..settings import TimeUnit
from .channel import Channel, Message
from .web import WebServer

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

FINISH_SECONDS = 4
"""How long running requests may go on after the order to stop."""

ENGINE_STOP_SECONDS = 3
"""How long the engine's processes may take to end by themselves: killed, they leave their shared memory behind."""

_WATCH_SECONDS = 0.5


def serve(order: Message, channel: Channel) -> None:
    """Load the model and serve until SIGTERM. `order`: engine_args, socket (a descriptor), time_unit, log (a file).

    Raises EngineError if the engine does not start, or dies, and UsageError for a flag that vLLM does not know.
    """
    listener = socket.socket(fileno=order["socket"])
    # Whoever is forked below would keep the port open beyond our end.
    os.register_at_fork(after_in_child=listener.close)
    args = boot.parse(order["engine_args"])
    channel.send({"event": "progress", "step": "Loading the model"})
    log = Path(order["log"])
    with failure.told(log):
        client = boot.start_engine(args)
    channel.send({"event": "loaded"})
    try:
        uvloop.run(_serve(client, args, order, listener, channel))
        if boot.is_dead(client):
            raise EngineError("The engine died.", f"vLLM's log says why: {log}")
    finally:
        client.shutdown(timeout=ENGINE_STOP_SECONDS)


async def _serve(
    client: "EngineClient", args: Namespace, order: Message, listener: socket.socket, channel: Channel
) -> None:
    plugin = MariTalkPlugin(TimeUnit(order["time_unit"]))
    with failure.told(Path(order["log"])):
        app = await boot.build_app(client, args)
        plugin.attach_router(app)
        await plugin.init_state(client, app.state, args)
        app.title, app.version = "MariTalk on vLLM", __version__
        channel.send({"event": "warming_up"})
        await _warm_up(app.state.maritalk_generator)

    config = uvicorn.Config(
        MaritacaAPI(app, app.state.maritalk_names, app.state.maritalk_generator.context_length),
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )
    server = _Server(config, channel)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, server.stop)
    watch = loop.create_task(_stop_with_engine(client, server))
    await server.serve(sockets=[listener])
    watch.cancel()


class _Server(WebServer):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, channel: Channel) -> None:
        super().__init__(config)
        self._channel = channel

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._channel.send({"event": "ready"})

    def stop(self) -> None:
        """Take no more requests, finish those that run, and end."""
        self.should_exit = True


async def _warm_up(generator: Generator) -> None:
    """One request through all that a user's will go through: the first is slower than any after it."""
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=4)
    for prompt in ("1 2 3", [Turn("user", "olá")]):
        # A model may have no chat template, or a context too short for this; it serves what it can.
        with contextlib.suppress(RequestError):
            await generator.complete(prompt, sampling)


async def _stop_with_engine(client: "EngineClient", server: _Server) -> None:
    while not boot.is_dead(client):
        await asyncio.sleep(_WATCH_SECONDS)
    server.stop()
