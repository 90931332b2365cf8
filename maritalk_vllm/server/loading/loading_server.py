"""The port, while no engine answers at it."""

import asyncio
import socket

from prometheus_client import CollectorRegistry

from ...errors import MariTalkError
from ...http.listener import drop_new_connections, has_waiting, join_url
from ...http.uvicorn_server import config
from ...settings import TimeUnit
from ..cluster.cluster_config import ClusterConfig
from ..middleware.access_config import AccessConfig, MiddlewareStack
from ..middleware.request_metrics import RequestMetrics
from ..middleware.route_labels import OWN, RouteLabels
from ..status import server_metrics
from ..status.server_state import ServerState
from ..status.startup_timings import StartupTimings
from .follower_app import FollowerApp
from .handover_server import Closing, HandoverServer
from .loading_app import LoadingApp

_HANDSHAKE_SECONDS = 0.2
"""How long a connection may take from its beginning to the queue of the listener, as the server ends."""

_END_SECONDS = 1.0
"""How long a request's head may take then, and after that the end of the last answers."""

_LOOK_SECONDS = 0.02


class LoadingServer:
    """The gate on the port, as often as the engine has to be waited for: behind the same door as the engine."""

    def __init__(
        self,
        listener: socket.socket,
        access: AccessConfig,
        state: ServerState,
        history: StartupTimings,
        time_unit: TimeUnit,
        group: ClusterConfig | None = None,
    ) -> None:
        """`group`: what this machine is a node of; another than node 0 has a signpost for a gate."""
        self._listener = listener
        self._access = access
        self._state = state
        self._history = history
        self._time_unit = time_unit
        self._elsewhere = group if group is not None and not group.leads else None
        self._gates: list[LoadingApp] = []
        self._identity = access.identity()
        self._fronts: dict[asyncio.Task[None], MiddlewareStack] = {}
        self._refusal: MariTalkError | None = None
        self._running: dict[asyncio.Task[None], HandoverServer] = {}
        self._accepting: HandoverServer | None = None

    def begin(self) -> None:
        """Answer from now on, if it is not done already."""
        if self._accepting is not None:
            return
        # New each time: between two gates an engine has counted.
        registry = CollectorRegistry()
        server_metrics.register(self._state, self._history, registry)
        gate = LoadingApp(registry) if self._elsewhere is None else self._signpost(registry, self._elsewhere)
        if self._refusal is not None:
            gate.refuse(self._refusal)
        request_metrics = RequestMetrics(registry, RouteLabels(OWN), self._state)
        app = self._access.build_stack(
            gate, self._state, self._time_unit, request_metrics, page=self._elsewhere is None
        )
        # A request that waits here is passed on to the engine by a connection of its own.
        server = HandoverServer(config(Closing(app), self._identity, descriptors_each=2, lifespan="off"))
        # A copy, since the server closes what it listens on when it hands over, and the port stays ours.
        task = asyncio.get_running_loop().create_task(server.serve(sockets=[self._listener.dup()]))
        self._gates.append(gate)
        self._running[task] = self._accepting = server
        self._fronts[task] = app
        task.add_done_callback(self._running.pop)
        task.add_done_callback(self._fronts.pop)

    def take(self, access: AccessConfig) -> None:
        """These rules hold from now on, and this certificate."""
        self._access = access
        for front in self._fronts.values():
            front.update(access)
        if self._identity is not None and access.certificate is not None:
            self._identity.update(access.certificate)

    def adopt(self, descriptor: int, read: bytes, *, is_used: bool) -> None:
        """Go on with a connection of the API process, which has read so much of a request."""
        self.begin()
        assert self._accepting is not None
        self._accepting.adopt(socket.socket(fileno=descriptor), read, is_used=is_used)

    def hand_over(self, url: str) -> None:
        """The engine answers, at this address too: accept no more, and pass on to it what waits or is still to come."""
        self._stop_accepting()
        while self._gates:
            self._gates.pop().open(url)

    def refuse(self, error: MariTalkError) -> None:
        """The engine will not come: tell those who wait and those who still come."""
        self._refusal = error
        for gate in self._gates:
            gate.refuse(error)

    def hold(self, why_not: MariTalkError | None) -> None:
        """Hold requests that come, or tell them at once why they would wait for long."""
        for gate in self._gates:
            gate.hold(why_not)

    def _signpost(self, registry: CollectorRegistry, group: ClusterConfig) -> FollowerApp:
        scheme = "https" if self._identity else "http"
        return FollowerApp(registry, group, self._state, join_url(scheme, group.head, self._listener.getsockname()[1]))

    async def end(self) -> None:
        """Answer all who are connected, then close the listener: no connection that was accepted is reset."""
        drop_new_connections(self._listener)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (passed := loop.time() - began) < _END_SECONDS:
            if passed >= _HANDSHAKE_SECONDS and not has_waiting(self._listener) and not self._are_waiting:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        self._stop_accepting()
        self._listener.close()
        for server in self._running.values():
            server.end(self._refusal)
        if self._running:
            await asyncio.wait(self._running, timeout=_END_SECONDS)

    @property
    def _are_waiting(self) -> bool:
        return any(server.waits for server in self._running.values())

    def _stop_accepting(self) -> None:
        self._accepting = None
        for server in self._running.values():
            server.hand_over()
