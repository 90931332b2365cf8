"""The API processes of a server: which run, which serve, and at which address of the engine."""

import contextlib
import itertools
import logging
import os
import signal
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from ...engine.engine_address import EngineAddress
from ...errors import EngineError
from ..status import summed_metrics
from ..status.server_state import ServerState
from ..status.startup_timings import StartupTimings
from .api_shared_memory import ApiSharedMemory
from .descriptors import Descriptor
from .engine_jobs import EngineJobs
from .fork_server_client import ForkServerClient
from .process_errors import no_connection_left, start_errors
from .process_messages import (
    AbortClient,
    AbortRequests,
    Control,
    OpenPort,
    Retire,
    TransferredConnection,
    UpdateOptions,
    UseEngine,
)

SPARE_ADDRESSES = 4
"""Addresses of an engine beside those of its first API processes: it can replace so many, and has to be replaced then.

vLLM's engine announces itself once at each address, when it starts, and cannot be given another one later.
"""

_log = logging.getLogger(__name__)


def address_count(processes: int) -> int:
    """The number of addresses that an engine needs. One API process alone is replaced with its engine."""
    return processes if processes == 1 else processes + SPARE_ADDRESSES


class ApiProcesses:
    """The API processes, numbered from 0. One that ends while others serve is replaced, and its number with it."""

    def __init__(
        self,
        fork_server: ForkServerClient,
        count: int,
        folder: Path,
        timings: StartupTimings,
        state: ServerState,
        *,
        wait: bool = False,
    ) -> None:
        """`folder`: the engine's temporary folder. `wait`: they open the port on `open_port`. Raises EngineError."""
        self.count = count
        self.timings = timings
        self._wait = wait
        self._folder = folder
        self._state = state
        self._fork_server = fork_server
        self._connections = fork_server.connections
        self._forked: set[int] = set()  # also before the process has started
        self._pids: dict[int, int] = {}
        self._serving: set[int] = set()  # those that keep requests and the port, also between two engines
        self._accepting: set[int] = set()
        self._connected: set[int] = set()  # to the current engine
        self._clients: dict[int, int] = {}  # their numbers, as the current engine has them
        self._dead_clients: dict[int, int] = {}  # of those that are being replaced
        self._jobs: EngineJobs | None = None  # of the current engine
        self._addresses: deque[EngineAddress] = deque()
        self._turns = itertools.cycle(range(count))
        self.is_ending = False
        """Whether all of them have to end, so that none is replaced."""
        with start_errors():
            self._memory = ApiSharedMemory.create(count) if count > 1 else None

    @property
    def is_serving(self) -> bool:
        """Whether at least one has been ready, and still runs."""
        return bool(self._serving)

    @property
    def are_leaving(self) -> bool:
        """Whether the supervisor answers in their place, or will soon."""
        return self.is_ending or not self._accepting

    @property
    def are_connected(self) -> bool:
        """Whether all that run serve the current engine."""
        return bool(self._forked) and self._connected == self._forked

    @property
    def pids(self) -> set[int]:
        """Pids of all running API processes."""
        return set(self._pids.values())

    @property
    def serving_pids(self) -> dict[int, int]:
        """Pids of the API processes that have been ready, by their numbers."""
        return {index: self._pids[index] for index in self._serving if index in self._pids}

    @property
    def go_on(self) -> bool:
        """Whether the others continue after one has ended: at least one serves, or all of them end."""
        return bool(self._pids) if self.is_ending else self.is_serving

    @property
    def are_used_up(self) -> bool:
        """Whether one is missing, and cannot connect to the current engine, which has no address left."""
        return self._jobs is not None and not self._addresses and len(self._forked) < self.count

    def use_engine(self, addresses: Iterable[EngineAddress], jobs: EngineJobs) -> None:
        """Note a new engine. From now on, a process that ends is replaced if another one serves."""
        self.is_ending = False
        self._jobs = jobs
        self._addresses = deque(addresses)
        self._connected.clear()
        self._clients.clear()
        self._dead_clients.clear()

    def lose_engine(self) -> None:
        """Note that the engine has ended. Processes that wait for it at its start have no use, and are killed."""
        self._jobs = None
        self._connected.clear()
        for index, pid in self._pids.items():
            if index not in self._serving:
                _kill(pid)

    def connect(self, index: int) -> bool:
        """Have a process serve the current engine, and fork it if it does not run yet. Returns whether it was forked.

        Raises EngineError.
        """
        assert self._jobs is not None
        if index in self._serving:
            self._connections[index].send(UseEngine(self._take_address(index), self.timings))
            return False
        if index in self._forked:  # replaces one that has just ended
            return False
        address = self._take_address(index)
        memory = None if self._memory is None else Descriptor(self._memory.fileno())
        with self._connections[index].new_channel() as control_channel:
            job = self._jobs.serve(index, address, control_channel, memory, self.timings, self._state, waits=self._wait)
            self._fork_server.fork(job)
        self._forked.add(index)
        return True

    def replace(self, index: int) -> bool:
        """Fork another process for one that has ended, and return True.

        Without an engine, or where the system forks no process, that is left to the start of the next engine.
        """
        if self._jobs is None or not self._addresses or not self._fork_server.is_alive:
            return False
        try:
            return self.connect(index)
        except EngineError as error:
            _log.error(error.message)
            return False

    def _take_address(self, index: int) -> EngineAddress:
        if not self._addresses:
            raise no_connection_left()
        address = self._addresses.popleft()
        self._clients[index] = address.client
        return address

    def send(self, message: Control) -> None:
        """Send a message to all that serve."""
        for index in self._serving:
            self._connections[index].send(message)

    def open_port(self) -> None:
        """Have all of them accept connections."""
        self._wait = False
        self._accepting |= self._serving
        self.send(OpenPort())

    def adopt(self, connection: TransferredConnection) -> bool:
        """Pass a connection to one of those that accept connections. False if none does, or all of them end."""
        if self.are_leaving:
            return False
        index = next(self._turns)
        while index not in self._accepting:
            index = next(self._turns)
        self._connections[index].send(connection)
        return True

    def mark_started(self, index: int, pid: int) -> None:
        """Note that a process runs."""
        self._pids[index] = pid

    def mark_ready(self, index: int, update: UpdateOptions) -> None:
        """Note that a process serves the current engine. `update`: what may have changed since it was forked."""
        if index not in self._forked:  # the worker process of a follower
            return
        self._serving.add(index)
        if not self._wait:
            self._accepting.add(index)
        self._connected.add(index)
        self._connections[index].send(update)
        if (client := self._dead_clients.pop(index, None)) is not None:
            # Again: its last requests may have reached the engine after the first abort.
            self.send(AbortClient(client))

    def mark_leaving(self, index: int) -> bool:
        """Note that a process accepts no connections any more. Returns whether it was the last that did."""
        was_accepting = index in self._accepting
        self._accepting.discard(index)
        return was_accepting and not self._accepting

    def mark_ended(self, pid: int) -> int:
        """Note that a process has ended, have the others abort its requests, and return its number."""
        index = next((index for index, each in self._pids.items() if each == pid), 0)
        for group in (self._forked, self._serving, self._accepting, self._connected):
            group.discard(index)
        self._pids.pop(index, None)
        self._connections[index].heartbeat.beat()
        if (client := self._clients.pop(index, None)) is not None:
            self.send(AbortClient(client))
            self._dead_clients[index] = client
        if self._memory is not None:
            summed_metrics.forget_gauges(self._folder, pid)
            try:
                self._memory.clear(index)
            except TimeoutError:
                _log.error("What an API process that died had in flight still counts: another one holds the lock.")
        return index

    def mark_all_ended(self) -> None:
        """Note that no process is left."""
        for pid in self.pids:
            self.mark_ended(pid)
        self._forked.clear()

    def silent_seconds(self) -> float:
        """The longest time without a heartbeat."""
        return max(connection.heartbeat.silent_seconds for connection in self._connections)

    def end(self, message: AbortRequests | Retire) -> None:
        """Have all of them, also those that are not ready, end as the message says."""
        self.is_ending = True
        self._fork_server.send_control(message)

    def terminate(self) -> None:
        """Have all of them drain, and exit."""
        self.is_ending = True
        for pid in self.pids:
            _kill(pid, signal.SIGTERM)

    def close(self) -> None:
        """Close the descriptor of the shared memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
