"""One `maritalk-serve` of a group, on a simulated host of its own."""

import time
from pathlib import Path

from tests.nodes.network_link import Host, NetworkLink
from tests.serving import READY_SECONDS, Answer, Server


class Node(Server):
    """A node, to which requests are sent from its own host, as localhost."""

    def __init__(self, folder: Path, link: NetworkLink, rank: int, port: int, *arguments: str) -> None:
        self.rank = rank
        self.host: Host = link.hosts[rank]
        folder.mkdir()
        group = ("--nodes", "2", "--node-rank", str(rank), "--head", link.hosts[0].address)
        super().__init__(folder, *group, *arguments, port=port, via=self.host.inside)

    def ask(self, path: str = "/", body: object = None, timeout: float = 120) -> Answer:
        return self.host.call(lambda: super(Node, self).ask(path, body, timeout))

    def is_ready(self) -> bool:
        try:
            return self.ask("/readyz", timeout=5).status == 200
        except OSError:
            return False

    def wait_until(self, ready: bool, seconds: float = READY_SECONDS) -> float:
        """Wait until `/readyz` reports this; return the seconds that it took."""
        began = time.monotonic()
        while self.is_ready() is not ready:
            assert self.process.poll() is None, self.stderr.read_text()
            assert time.monotonic() - began < seconds, self.stdout.read_text()
            time.sleep(0.05)
        return time.monotonic() - began
