"""Kills an API process whose heartbeat stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from ...settings import Settings
from . import process_errors
from .api_processes import ApiProcesses
from .fork_server_client import ForkServerClient
from .heartbeat import CHECK_SECONDS


@contextlib.asynccontextmanager
async def api_watchdog(
    fork_server: ForkServerClient, api: ApiProcesses, settings: Callable[[], Settings]
) -> AsyncIterator[None]:
    """During the context, kill each serving API process that is silent for --api-timeout.

    Followers have none: the leader's engine notices if their workers hang.
    """
    watching = asyncio.get_running_loop().create_task(_kill_those_that_hang(fork_server, api, settings))
    try:
        yield
    finally:
        watching.cancel()


async def _kill_those_that_hang(
    fork_server: ForkServerClient, api: ApiProcesses, settings: Callable[[], Settings]
) -> None:
    heartbeats, killed = [each.heartbeat for each in fork_server.connections], set[int]()
    for heartbeat in heartbeats:
        heartbeat.beat()
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        limit, serving = settings().api_timeout, api.serving_pids
        for index, heartbeat in enumerate(heartbeats):
            heartbeat.update()
            pid = serving.get(index)
            if pid is None:  # it has none yet
                heartbeat.beat()
            elif heartbeat.silent_seconds > limit and pid not in killed:
                fork_server.kill_forked(pid, process_errors.api_hangs(limit, settings().engine_log))
                killed.add(pid)
