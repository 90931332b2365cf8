"""A leader and its followers, connected over real sockets on this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.cluster.coordinator import Coordinator
from maritalk_vllm.server.cluster.follower import Follower
from maritalk_vllm.server.cluster.leader import Leader
from maritalk_vllm.settings import DistributedBackend
from tests.serving import free_port

INFO = {"model": "demo", "cards": 2, "vllm": "0.32.0"}
AGREED = {"max_model_len": 4096}


class LocalGroup:
    """A leader and its followers, used as their supervisors would use them."""

    def __init__(self, nodes: int = 2, head: str = "127.0.0.1", secret: bytes | None = None) -> None:
        self._options = {"nodes": nodes, "head": head, "port": free_port() - 1, "backend": DistributedBackend.MP}
        self.secret = secret
        self.leader = Leader(self.config(0), INFO, AGREED)
        self.followers: list[Follower] = []
        self.shown: list[str] = []

    def config(self, rank: int) -> ClusterConfig:
        return ClusterConfig(rank=rank, secret=self.secret, **self._options)  # type: ignore[arg-type]

    def follower(self, rank: int = 1, info: dict[str, Any] = INFO) -> Follower:
        self.followers.append(Follower(self.config(rank), info))
        return self.followers[-1]

    async def start_epoch(self, *followers: Follower) -> list[dict[str, Any]]:
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
