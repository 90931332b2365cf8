"""With whom this machine serves a model: with nobody, as the head of a group, or as another node of one."""

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

from ...errors import EngineError, MariTalkError
from ...planning.plan import Plan
from ...settings import DistributedBackend
from .cluster_config import Group
from .compatibility import terms
from .control_connection import Message
from .follower import Member
from .leader import Head
from .ray_node import joins_a_cluster


class Company(Protocol):
    """What the supervisor waits for beside its own engine."""

    counts: bool
    """Whether restarts are counted here."""

    @property
    def lacks_somebody(self) -> bool:
        """Whether one is missing who may take long to come."""

    async def gathered(self, show: Callable[[str], None]) -> Message:
        """Until all are there and begin; what they agreed on. `show` is told what is waited for."""

    async def broken(self) -> NoReturn:
        """Until it cannot go on, for another's reason. Raises EngineError."""

    async def cause(self, error: EngineError) -> EngineError:
        """What the engine here has died of: this, or what another node knows."""

    def over(self, error: MariTalkError) -> None:
        """The engine, or what of it is here, cannot go on."""

    def idle(self) -> None:
        """Nothing of it is left here."""

    async def left_alone(self) -> None:
        """Until nobody needs what is here any more."""

    async def close(self) -> None:
        """Part with the others."""


class Alone:
    """A machine that has all of the model."""

    counts = True
    lacks_somebody = False

    async def gathered(self, show: Callable[[str], None]) -> Message:
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

    async def left_alone(self) -> None:
        """At once."""

    async def close(self) -> None:
        """Nobody is to be parted with."""


def company(group: Group | None, plan: Plan, model: str, vllm: str) -> Company:
    """As the user started it."""
    if group is None or (group.backend is DistributedBackend.RAY and joins_a_cluster()):
        return Alone()
    if group.leads:
        return Head(group, terms(plan, model, vllm), {"max_model_len": plan.max_model_len})
    return Member(group, terms(plan, model, vllm))
