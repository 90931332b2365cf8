"""Two hosts on one machine, as far as the network and shared memory go, and a cable between them that can be pulled."""

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
"""Of the addresses that are kept for tests of networks (RFC 2544)."""


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


class Host:
    """One end of the cable: a network of its own, and with `inside` a /dev/shm of its own and a share of the cores."""

    def __init__(self, rank: int, cores: Sequence[int]) -> None:
        self.name = f"maritalk-{os.getpid()}-{rank}"
        self.interface = f"cable{rank}"
        self.address = f"{_NETWORK}.{rank + 1}"
        self._cores = ",".join(map(str, cores))
        self._pool: ThreadPoolExecutor | None = None

    @property
    def inside(self) -> list[str]:
        """What a command begins with that is to run here; the process keeps its id."""
        own = 'mount -t tmpfs tmpfs /dev/shm && exec "$@"'
        return ["ip", "netns", "exec", self.name, "taskset", "-c", self._cores, "sh", "-c", own, "sh"]

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns that is called in this network."""
        if self._pool is None:
            # A thread of its own: in whatever network it is, the others stay where they are.
            self._pool = ThreadPoolExecutor(8, initializer=self._enter)
        return self._pool.submit(function).result()

    def received_bytes(self) -> int:
        """What has come through the cable."""
        return self.call(lambda: int(_counted(self.interface)[0]))

    def sent_bytes(self) -> int:
        """What has gone through the cable."""
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


class Cable:
    """What joins two hosts."""

    def __init__(self, hosts: tuple[Host, Host]) -> None:
        self.hosts = hosts

    def pull(self) -> None:
        """Nothing gets through any more, and nobody is told: no connection is closed."""
        ip("-n", self.hosts[1].name, "link", "set", self.hosts[1].interface, "down")

    def plug(self) -> None:
        ip("-n", self.hosts[1].name, "link", "set", self.hosts[1].interface, "up")


@contextmanager
def two_hosts() -> Iterator[Cable]:
    """Raises OSError or CalledProcessError where this machine allows no namespaces."""
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
        yield Cable(hosts)
    finally:
        for host in hosts:
            host.leave()
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)
