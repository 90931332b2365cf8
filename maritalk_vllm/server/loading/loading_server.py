"""Runs uvicorn with the loading app on the port while no engine serves."""

import asyncio
import logging
import socket

from prometheus_client import CollectorRegistry

from ...errors import MariTalkError
from ...http.listener import drop_new_connections, has_waiting, join_url
from ...http.uvicorn_server import config
from ...settings import TimeUnit
from ..cluster.cluster_config import ClusterConfig
from ..middleware.access_config import AccessConfig
from ..middleware.request_metrics import RequestMetrics
from ..middleware.route_labels import OWN, RouteLabels
from ..middleware.stack import MiddlewareStack
from ..status import server_metrics
from ..status.server_state import Phase, ServerState
from ..status.startup_timings import StartupTimings
from .follower_app import FollowerApp
from .handover_server import HandoverServer
from .loading_app import LoadingApp

_HANDSHAKE_SECONDS = 0.2
"""How long a TCP handshake may take to put a connection into the listener's queue while the server stops."""

_STOP_SECONDS = 1.0
"""How long to wait for incomplete requests while the server stops, and after that for the last responses."""

_POLL_SECONDS = 0.02

_log = logging.getLogger(__name__)


class LoadingServer:
    """Answers at the port each time that the engine loads, with the same authentication and limits as the engine."""

    def __init__(
        self,
        listener: socket.socket,
        access: AccessConfig,
        state: ServerState,
        timings: StartupTimings,
        time_unit: TimeUnit,
        group: ClusterConfig | None = None,
        *,
        is_demo: bool = False,
    ) -> None:
        """`group`: the group that this node belongs to; a follower runs FollowerApp instead of LoadingApp.

        `is_demo`: the demo model is served; a change concerns what `start` starts later.
        """
        self._listener = listener
        self._access = access
        self._state = state
        self._timings = timings
        self._time_unit = time_unit
        self.is_demo = is_demo
        self._follower_group = group if group is not None and not group.is_leader else None
        self._apps: list[LoadingApp] = []
        self._identity = access.identity()
        self._stacks: dict[asyncio.Task[None], MiddlewareStack] = {}
        self._error: MariTalkError | None = None
        self._servers: dict[asyncio.Task[None], HandoverServer] = {}
        self._accepting: HandoverServer | None = None

    def start(self) -> None:
        """Start to answer at the port; do nothing if a server already accepts connections."""
        if self._accepting is not None:
            return
        # A new registry each time: the engine has its own counters, so these start from 0.
        registry = CollectorRegistry()
        server_metrics.register(self._state, self._timings, registry)
        group = self._follower_group
        app = LoadingApp(registry) if group is None else self._follower_app(registry, group)
        if self._error is not None:
            app.fail(self._error, is_draining=self._is_draining)
        request_metrics = RequestMetrics(registry, RouteLabels(OWN), self._state)
        stack = MiddlewareStack(
            app,
            self._access,
            self._state,
            self._time_unit,
            request_metrics,
            page=group is None,
            is_loading=True,
            is_demo=self.is_demo,
        )
        # Two descriptors each: a held request is forwarded to the engine on a second connection.
        server = HandoverServer(config(stack, self._identity, descriptors_each=2, lifespan="off"))
        # A duplicate, since a hand-over closes the server's socket, and this process keeps the port open.
        task = asyncio.get_running_loop().create_task(_serve(server, app, self._listener.dup()))
        self._apps.append(app)
        self._servers[task] = self._accepting = server
        self._stacks[task] = stack
        task.add_done_callback(self._servers.pop)
        task.add_done_callback(self._stacks.pop)

    def try_to_start(self) -> bool:
        """As `start`, but log it and return False if that fails, as when too many files are open."""
        try:
            self.start()
        except OSError as error:
            _log.error(f"The supervisor cannot answer at the port: {error.strerror}.")
            return False
        return True

    def update_access(self, access: AccessConfig) -> None:
        """Apply changed keys, limits and certificate to running and later servers."""
        self._access = access
        for stack in self._stacks.values():
            stack.update(access)
        if self._identity is not None and access.certificate is not None:
            self._identity.update(access.certificate)

    def adopt(self, descriptor: int, read: bytes, *, is_used: bool) -> None:
        """Take over a connection of the API process; `read` is what it read of the current request.

        `is_used`: whether the connection has carried an earlier request.
        """
        self.start()
        assert self._accepting is not None
        self._accepting.adopt(socket.socket(fileno=descriptor), read, is_used=is_used)

    def hand_over(self, url: str) -> None:
        """Stop accepting connections, and forward held and incomplete requests to the engine at `url`."""
        self._stop_accepting()
        while self._apps:
            self._apps.pop().engine_ready(url)

    def fail(self, error: MariTalkError) -> None:
        """Answer held and later requests with `error`: the engine will not start."""
        self._error = error
        for app in self._apps:
            app.fail(error, is_draining=self._is_draining)

    def hold_or_reject(self, error: MariTalkError | None) -> None:
        """Hold requests until the engine is ready if `error` is None; else reject them with it, as the wait is long."""
        for app in self._apps:
            app.hold_or_reject(error)

    def _follower_app(self, registry: CollectorRegistry, group: ClusterConfig) -> FollowerApp:
        scheme = "https" if self._identity else "http"
        # The leader is assumed to listen on the same port as this node.
        return FollowerApp(registry, group, self._state, join_url(scheme, group.head, self._listener.getsockname()[1]))

    async def stop(self) -> None:
        """Answer all connected clients, then close the listener, so that no accepted connection is reset."""
        drop_new_connections(self._listener)
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (elapsed := loop.time() - start) < _STOP_SECONDS:
            if elapsed >= _HANDSHAKE_SECONDS and not has_waiting(self._listener) and not self._has_incomplete_requests:
                break
            await asyncio.sleep(_POLL_SECONDS)
        self._stop_accepting()
        self._listener.close()
        for server in self._servers.values():
            server.stop(self._error)
        if self._servers:
            await asyncio.wait(self._servers, timeout=_STOP_SECONDS)

    @property
    def _is_draining(self) -> bool:
        return self._state.phase is Phase.DRAINING

    @property
    def _has_incomplete_requests(self) -> bool:
        return any(server.has_incomplete_requests for server in self._servers.values())

    def _stop_accepting(self) -> None:
        self._accepting = None
        for server in self._servers.values():
            server.hand_over()


async def _serve(server: HandoverServer, app: LoadingApp, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    finally:
        await app.close()
