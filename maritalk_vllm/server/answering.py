"""The port, while no engine answers at it."""

import asyncio
import contextlib
import socket

from prometheus_client import CollectorRegistry

from ..errors import MariTalkError
from ..settings import TimeUnit
from . import metrics
from .access import Access, Front
from .gate import Gate
from .group import Group
from .history import History
from .listener import join_url
from .routes import OWN, Routes
from .signpost import Signpost
from .state import State
from .tally import Tally
from .web import WebServer, config


class Answering:
    """The gate on the port, as often as the engine has to be waited for: behind the same door as the engine."""

    def __init__(
        self,
        listener: socket.socket,
        access: Access,
        state: State,
        history: History,
        time_unit: TimeUnit,
        group: Group | None = None,
    ) -> None:
        """`group`: what this machine is a node of; another than node 0 has a signpost for a gate."""
        self._listener = listener
        self._access = access
        self._state = state
        self._history = history
        self._time_unit = time_unit
        self._elsewhere = group if group is not None and not group.leads else None
        self._gates: list[Gate] = []
        self._running: dict[asyncio.Task[None], _Door] = {}
        self._identity = access.identity()
        self._fronts: dict[asyncio.Task[None], Front] = {}

    def begin(self) -> None:
        """Answer from now on."""
        # New each time: between two gates an engine has counted.
        registry = CollectorRegistry()
        metrics.register(self._state, self._history, registry)
        gate = Gate(registry) if self._elsewhere is None else self._signpost(registry, self._elsewhere)
        tally = Tally(registry, Routes(OWN), self._state)
        app = self._access.around(gate, self._state, self._time_unit, tally, page=self._elsewhere is None)
        # A request that waits here is passed on to the engine by a connection of its own.
        door = _Door(config(app, self._identity, descriptors_each=2, lifespan="off"))
        # A copy, since the door closes what it listens on when it hands over, and the port stays ours.
        task = asyncio.get_running_loop().create_task(door.serve(sockets=[self._listener.dup()]))
        self._gates.append(gate)
        self._running[task] = door
        self._fronts[task] = app
        task.add_done_callback(self._running.pop)
        task.add_done_callback(self._fronts.pop)

    def take(self, access: Access) -> None:
        """These rules hold from now on, and this certificate."""
        self._access = access
        for front in self._fronts.values():
            front.take(access)
        if self._identity is not None and access.certificate is not None:
            self._identity.take(access.certificate)

    def hand_over(self, url: str) -> None:
        """The engine answers, at this address too: accept no more, and pass on to it what waits here."""
        self._stop_accepting()
        while self._gates:
            self._gates.pop().open(url)

    def refuse(self, error: MariTalkError) -> None:
        """The engine will not come: tell those who wait and those who still come."""
        for gate in self._gates:
            gate.refuse(error)

    def hold(self, why_not: MariTalkError | None) -> None:
        """Hold requests that come, or tell them at once why they would wait for long."""
        for gate in self._gates:
            gate.hold(why_not)

    def _signpost(self, registry: CollectorRegistry, group: Group) -> Signpost:
        scheme = "https" if self._identity else "http"
        return Signpost(registry, group, self._state, join_url(scheme, group.head, self._listener.getsockname()[1]))

    async def end(self) -> None:
        """Accept no more, and see the last answers off."""
        self._stop_accepting()
        if self._running:
            await asyncio.wait(self._running, timeout=1)

    def _stop_accepting(self) -> None:
        for door in self._running.values():
            door.hand_over()


class _Door(WebServer):
    """Lets the gate answer until the API process takes the port over."""

    def hand_over(self) -> None:
        """Accept no more, at once; requests that wait in the gate go on."""
        for server in getattr(self, "servers", ()):
            with contextlib.suppress(RuntimeError):
                server.close()
        self.should_exit = True
