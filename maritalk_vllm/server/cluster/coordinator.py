"""Coordination with other nodes: single node, leader, or follower."""

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

from ...errors import EngineError, MariTalkError
from ...planning.plan import Plan
from ...settings import DistributedBackend
from .cluster_config import ClusterConfig
from .compatibility import compatibility
from .follower import Follower
from .leader import Leader
from .node_messages import Agreement
from .ray_node import uses_existing_cluster


class Coordinator(Protocol):
    """What the supervisor waits for besides its own engine.

    All nodes start the engine together. An epoch lasts from that start to the first failure on any node; then every
    node stops its workers, reports that it is idle, and the next epoch starts.
    """

    @property
    def has_missing_nodes(self) -> bool:
        """True while at least one expected node is disconnected; it may take long to connect."""

    async def wait_for_peers(self, show: Callable[[str], None]) -> Agreement:
        """Wait until all nodes start an epoch; return the values they agreed on. `show` displays what is missing."""

    async def wait_for_failure(self) -> NoReturn:
        """Wait until another node ends the epoch. Raises EngineError with its reason."""

    async def root_cause(self, error: EngineError) -> EngineError:
        """Return the failure of another node that caused `error` of the local engine, or `error` itself."""

    def end_epoch(self, error: MariTalkError) -> None:
        """Report that the local engine, or this node's workers, cannot continue because of `error`."""

    def report_idle(self) -> None:
        """Report that no process of the engine is left on this node."""

    async def wait_until_released(self) -> None:
        """Wait until the leader no longer needs this node's workers."""

    async def close(self) -> None:
        """Disconnect from the other nodes."""


class SingleNode:
    """Coordinator of a machine that holds the whole model."""

    has_missing_nodes = False

    async def wait_for_peers(self, show: Callable[[str], None]) -> Agreement:
        """Return at once."""
        return Agreement()

    async def wait_for_failure(self) -> NoReturn:
        """Wait forever."""
        while True:
            await asyncio.Event().wait()

    async def root_cause(self, error: EngineError) -> EngineError:
        """Return `error`."""
        return error

    def end_epoch(self, error: MariTalkError) -> None:
        """Do nothing."""

    def report_idle(self) -> None:
        """Do nothing."""

    async def wait_until_released(self) -> None:
        """Return at once."""

    async def close(self) -> None:
        """Do nothing."""


def coordinator(group: ClusterConfig | None, plan: Plan, vllm: str) -> Coordinator:
    """Return the coordinator for the configured group. `vllm`: the installed version."""
    if group is None or (group.backend is DistributedBackend.RAY and uses_existing_cluster()):
        return SingleNode()
    if group.is_leader:
        return Leader(group, compatibility(plan, vllm), Agreement(max_model_len=plan.max_model_len))
    return Follower(group, compatibility(plan, vllm))
