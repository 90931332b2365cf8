"""A leader and its followers, connected over real sockets on this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.cluster.compatibility import Compatibility
from maritalk_vllm.server.cluster.coordinator import Coordinator
from maritalk_vllm.server.cluster.follower import Follower
from maritalk_vllm.server.cluster.leader import Leader
from maritalk_vllm.server.cluster.message_stream import MessageStream
from maritalk_vllm.server.cluster.node_messages import Agreement, Hello
from maritalk_vllm.settings import DistributedBackend
from tests.serving import free_port

INFO = Compatibility(
    version="0.1.0",
    vllm="0.32.0",
    nodes=2,
    model="demo",
    device="cuda",
    dtype="bfloat16",
    cards=2,
    card="L4",
    tensor_parallel_size=2,
    pipeline_parallel_size=2,
)
AGREEMENT = Agreement(max_model_len=4096)
NODE_1 = Hello(rank=1, terms=INFO.terms())
"""The hello of a node 1 without a secret."""


class LocalGroup:
    """A leader and its followers, used as their supervisors would use them."""

    def __init__(self, nodes: int = 2, head: str = "127.0.0.1", secret: bytes | None = None) -> None:
        self._options = {"nodes": nodes, "head": head, "port": free_port() - 1, "backend": DistributedBackend.MP}
        self.secret = secret
        self.leader = Leader(self.config(0), INFO, AGREEMENT)
        self.followers: list[Follower] = []
        self.shown: list[str] = []

    def config(self, rank: int) -> ClusterConfig:
        return ClusterConfig(rank=rank, secret=self.secret, **self._options)  # type: ignore[arg-type]

    def follower(self, rank: int = 1, info: Compatibility = INFO) -> Follower:
        self.followers.append(Follower(self.config(rank), info))
        return self.followers[-1]

    async def start_epoch(self, *followers: Follower) -> list[Agreement]:
        coordinators: list[Coordinator] = [self.leader, *followers]
        waiting = [each.wait_for_peers(self.shown.append) for each in coordinators]
        return await asyncio.wait_for(asyncio.gather(*waiting), 5)


@contextlib.asynccontextmanager
async def local_group(nodes: int = 2, secret: bytes | None = None) -> AsyncIterator[LocalGroup]:
    group = LocalGroup(nodes, secret=secret)
    try:
        yield group
    finally:
        for follower in group.followers:
            await follower.close()
        await group.leader.close()


class Peer(MessageStream):
    """The other end of a connection, which may also send what is no message."""

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def rest(self) -> bytes:
        """Everything that arrives until the other side disconnects."""
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                return await self._reader.read()
        return b""


async def connected(made: LocalGroup) -> Peer:
    """Connect to the leader as soon as it listens."""
    async with asyncio.timeout(10):
        while True:
            try:
                return Peer(*await asyncio.open_connection("127.0.0.1", made.config(0).control_port))
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
