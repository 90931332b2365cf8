"""Kills an API process whose heartbeat stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from ...settings import Settings
from . import process_errors
from .fork_server_client import ForkServerClient
from .heartbeat import CHECK_SECONDS


@contextlib.asynccontextmanager
async def api_watchdog(
    fork_server: ForkServerClient, settings: Callable[[], Settings], pid: Callable[[], int | None]
) -> AsyncIterator[None]:
    """During the context, kill the API process with the current `pid` if it is silent for --api-timeout.

    Followers have none: the leader's engine notices if their workers hang.
    """
    watching = asyncio.get_running_loop().create_task(_kill_when_hung(fork_server, settings, pid))
    try:
        yield
    finally:
        watching.cancel()


async def _kill_when_hung(
    fork_server: ForkServerClient, settings: Callable[[], Settings], pid: Callable[[], int | None]
) -> None:
    heartbeat, killed = fork_server.heartbeat, None
    heartbeat.beat()
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        heartbeat.update()
        limit, running = settings().api_timeout, pid()
        if heartbeat.silent_seconds > limit and running not in (None, killed):
            assert running is not None
            fork_server.kill_forked(running, process_errors.api_hangs(limit, settings().engine_log))
            killed = running
