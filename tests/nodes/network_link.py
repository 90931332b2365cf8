"""Two simulated hosts with their own network and shared memory, and a network link between them to set up and down."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_NETWORK = "198.18.77"
"""From the range reserved for benchmark tests of networks (RFC 2544)."""


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


class Host:
    """One end of the link: a network namespace. `inside` adds a /dev/shm of its own and a share of the cores."""

    def __init__(self, rank: int, cores: Sequence[int]) -> None:
        self.name = f"maritalk-{os.getpid()}-{rank}"
        self.interface = f"veth{rank}"
        self.address = f"{_NETWORK}.{rank + 1}"
        self._cores = ",".join(map(str, cores))
        self._pool: ThreadPoolExecutor | None = None

    @property
    def inside(self) -> list[str]:
        """Prefix of a command that runs it on this host; the process keeps its pid."""
        own = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'
        return ["ip", "netns", "exec", self.name, "taskset", "-c", self._cores, "sh", "-c", own, "sh"]

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in this host's network namespace, and return its result."""
        if self._pool is None:
            # setns() affects only the calling thread.
            self._pool = ThreadPoolExecutor(8, initializer=self._enter)
        return self._pool.submit(function).result()

    def received_bytes(self) -> int:
        """Bytes received through the link."""
        return self.call(lambda: int(_counted(self.interface)[0]))

    def sent_bytes(self) -> int:
        """Bytes sent through the link."""
        return self.call(lambda: int(_counted(self.interface)[8]))

    def leave(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def _enter(self) -> None:
        with Path("/run/netns", self.name).open() as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "setns")


def _counted(interface: str) -> list[str]:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    (line,) = (line for line in lines if line.strip().startswith(f"{interface}:"))
    return line.partition(":")[2].split()


class NetworkLink:
    """The virtual link between two hosts."""

    def __init__(self, hosts: tuple[Host, Host]) -> None:
        self.hosts = hosts

    def set_down(self) -> None:
        """Drop all packets silently: no connection is closed."""
        ip("-n", self.hosts[1].name, "link", "set", self.hosts[1].interface, "down")

    def set_up(self) -> None:
        ip("-n", self.hosts[1].name, "link", "set", self.hosts[1].interface, "up")


@contextmanager
def two_hosts() -> Iterator[NetworkLink]:
    """Create two connected hosts. Raises OSError or CalledProcessError where network namespaces are not permitted."""
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    hosts = Host(0, cores[:half]), Host(1, cores[-half:])
    try:
        for host in hosts:
            ip("netns", "add", host.name)
        one, other = hosts
        ends = ("dev", one.interface, "type", "veth", "peer", "name", other.interface, "netns", other.name)
        ip("-n", one.name, "link", "add", *ends)
        for host in hosts:
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", host.interface)
            for interface in ("lo", host.interface):
                ip("-n", host.name, "link", "set", interface, "up")
        subprocess.run([*one.inside, "true"], check=True, capture_output=True)
        yield NetworkLink(hosts)
    finally:
        for host in hosts:
            host.leave()
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)
