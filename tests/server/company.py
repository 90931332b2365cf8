"""A head and its members, over real connections on this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from maritalk_vllm.server.cluster.cluster_config import ClusterConfig
from maritalk_vllm.server.cluster.follower import Follower
from maritalk_vllm.server.cluster.leader import Leader
from maritalk_vllm.settings import DistributedBackend
from tests.serving import free_port

TERMS = {"model": "demo", "cards": 2, "vllm": "0.32.0"}
TOLD = {"max_model_len": 4096}


class Nodes:
    """A head and its members, each waiting for the others as its supervisor would."""

    def __init__(self, nodes: int = 2, head: str = "127.0.0.1", secret: bytes | None = None) -> None:
        self._group = {"nodes": nodes, "head": head, "port": free_port() - 1, "backend": DistributedBackend.MP}
        self.secret = secret
        self.head = Leader(self.group(0), TERMS, TOLD)
        self.members: list[Follower] = []
        self.shown: list[str] = []

    def group(self, rank: int) -> ClusterConfig:
        return ClusterConfig(rank=rank, secret=self.secret, **self._group)  # type: ignore[arg-type]

    def member(self, rank: int = 1, terms: dict[str, Any] = TERMS) -> Follower:
        self.members.append(Follower(self.group(rank), terms))
        return self.members[-1]

    async def begun(self, *members: Follower) -> list[dict[str, Any]]:
        waiting = [
            self.head.wait_for_peers(self.shown.append),
            *(each.wait_for_peers(self.shown.append) for each in members),
        ]
        return await asyncio.wait_for(asyncio.gather(*waiting), 5)


@contextlib.asynccontextmanager
async def nodes(count: int = 2, secret: bytes | None = None) -> AsyncIterator[Nodes]:
    made = Nodes(count, secret=secret)
    try:
        yield made
    finally:
        for member in made.members:
            await member.close()
        await made.head.close()
