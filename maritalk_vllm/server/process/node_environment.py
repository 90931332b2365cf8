"""Environment variables that tell the engine's processes about the other nodes, and this node's Ray process."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from ...engine.environment import HOST_IP, engine_environment, group_environment
from ...errors import EngineError
from ...hardware.network import route_to
from ...i18n.message import msg
from ...settings import DistributedBackend
from ..cluster.ray_node import ADDRESS, RayNode, uses_existing_cluster
from ..startup.launch import Launch


class NodeEnvironment:
    """The environment of this node, alone or in a multi-node group; starts Ray where the group uses it."""

    def __init__(self, launch: Launch, folder: Path) -> None:
        """`folder` is for sockets and temporary files."""
        self._launch = launch
        self._folder = folder
        self._ray: RayNode | None = None

    @property
    def has_ray(self) -> bool:
        """Whether this server starts Ray, rather than the user."""
        group = self._launch.group
        return group is not None and group.backend is DistributedBackend.RAY and not uses_existing_cluster()

    async def environment(self, show: Callable[[str], None]) -> dict[str, str]:
        """Variables to add to the fork server's. Resolved for each start: addresses may change. Raises EngineError."""
        # In a thread: name resolution may be slow.
        environment = await asyncio.to_thread(self._addresses)
        if self.has_ray:
            show("Starting Ray")
            environment |= await self._start_ray(environment)
        return environment

    async def wait_for_ray_exit(self) -> None:
        """Wait until Ray exits by itself. Always raises EngineError."""
        assert self._ray is not None
        await self._ray.wait_for_exit()

    async def _start_ray(self, environment: dict[str, str]) -> dict[str, str]:
        launch = self._launch
        assert launch.group is not None
        full_environment = {**engine_environment(launch.plan, self._folder, launch.settings.cache_dir), **environment}
        log = launch.settings.engine_log.with_suffix(".ray")
        self._ray = RayNode(
            launch.group, full_environment[HOST_IP], launch.plan.workers_per_node, full_environment, log
        )
        await self._ray.start()
        return {ADDRESS: self._ray.address, **self._ray.authentication}

    def _addresses(self) -> dict[str, str]:
        group = self._launch.group
        if group is None:
            return {}
        try:
            return group_environment(route_to(group.head))
        except OSError as error:
            raise EngineError(
                msg("This node has no way to {head}: {reason}.", head=group.head, reason=error.strerror)
            ) from error
