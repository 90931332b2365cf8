"""With whom this machine serves a model: with nobody, as the head of a group, or as another node of one."""

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

from ...errors import EngineError, MariTalkError
from ...planning.plan import Plan
from ...settings import DistributedBackend
from .cluster_config import ClusterConfig
from .compatibility import compatibility
from .control_connection import Message
from .follower import Follower
from .leader import Leader
from .ray_node import joins_a_cluster


class Coordinator(Protocol):
    """What the supervisor waits for beside its own engine."""

    counts: bool
    """Whether restarts are counted here."""

    @property
    def has_missing_nodes(self) -> bool:
        """Whether one is missing who may take long to come."""

    async def wait_for_peers(self, show: Callable[[str], None]) -> Message:
        """Until all are there and begin; what they agreed on. `show` is told what is waited for."""

    async def broken(self) -> NoReturn:
        """Until it cannot go on, for another's reason. Raises EngineError."""

    async def cause(self, error: EngineError) -> EngineError:
        """What the engine here has died of: this, or what another node knows."""

    def over(self, error: MariTalkError) -> None:
        """The engine, or what of it is here, cannot go on."""

    def idle(self) -> None:
        """Nothing of it is left here."""

    async def wait_until_released(self) -> None:
        """Until nobody needs what is here any more."""

    async def close(self) -> None:
        """Part with the others."""


class SingleNode:
    """A machine that has all of the model."""

    counts = True
    has_missing_nodes = False

    async def wait_for_peers(self, show: Callable[[str], None]) -> Message:
        """At once."""
        return {}

    async def broken(self) -> NoReturn:
        """Never."""
        while True:
            await asyncio.Event().wait()

    async def cause(self, error: EngineError) -> EngineError:
        """This."""
        return error

    def over(self, error: MariTalkError) -> None:
        """Nobody is to be told."""

    def idle(self) -> None:
        """Nobody is to be told."""

    async def wait_until_released(self) -> None:
        """At once."""

    async def close(self) -> None:
        """Nobody is to be parted with."""


def coordinator(group: ClusterConfig | None, plan: Plan, model: str, vllm: str) -> Coordinator:
    """As the user started it."""
    if group is None or (group.backend is DistributedBackend.RAY and joins_a_cluster()):
        return SingleNode()
    if group.leads:
        return Leader(group, compatibility(plan, model, vllm), {"max_model_len": plan.max_model_len})
    return Follower(group, compatibility(plan, model, vllm))
