"""The supervisor's client of the fork server. A small program that forks nothing stands for the fork server."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from maritalk_vllm.errors import EngineError
from maritalk_vllm.http.listener import listen
from maritalk_vllm.server.process.fork_server_client import ForkServerClient
from tests.server.cluster.test_compatibility import launch
from tests.server.process.test_ipc_channel import no_descriptors, open_files
from tests.server.process.test_log_file import opened

PROGRAM = """
import os, sys, time
from pathlib import Path
from maritalk_vllm.server.process.ipc_channel import Channel
folder = Path(sys.argv[1])
channel = Channel.inherited(int(sys.argv[-2]))
channel.send({"event": "imported"})
control_channel = Channel.inherited(channel.receive()["descriptor"])
channel.receive()
channel.send({"event": "started", "job": "serve", "pid": os.getpid()})
"""

HANGING_PROGRAM = (
    PROGRAM
    + """
while not (folder / "reads").exists():
    time.sleep(0.01)
while control_channel.receive()["number"] != 99:
    pass
channel.send({"event": "lost"})
channel.send({"event": "read", "message": control_channel.receive()})
"""
)
"""An API process that hangs until a file exists; then it asks for the latest control message again."""


def run_scenario(folder: Path, scenario: Callable[[ForkServerClient], Awaitable[None]]) -> None:
    async def run() -> None:
        command = (sys.executable, "-c", HANGING_PROGRAM, str(folder))
        server = ForkServerClient(launch(folder), listener, folder, lambda text: None, log, command)
        try:
            async with asyncio.timeout(30):
                await scenario(server)
        finally:
            server.close()

    with opened(folder / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())


async def fork_job(server: ForkServerClient) -> None:
    assert await server.next_message() == {"event": "imported"}
    server.fork({"job": "serve"})
    message = await server.next_message()
    assert message is not None
    assert message["event"] == "started"


def test_a_hung_process_does_not_block_the_client_and_gets_the_latest_message(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        await fork_job(server)
        for number in range(100):
            server.send_control({"number": number, "text": "a" * 60_000})
        (tmp_path / "reads").touch()
        message = await server.next_message()
        assert message is not None
        assert message["event"] == "read"
        assert message["message"]["number"] == 99

    run_scenario(tmp_path, scenario)


def test_without_descriptors_a_control_message_is_retried_and_a_start_fails(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        await fork_job(server)
        with no_descriptors():
            server.send_control({"number": 99, "text": "a" * 70_000})
            with pytest.raises(EngineError, match="cannot be started: Too many open files"):
                ForkServerClient(*arguments)
        (tmp_path / "reads").touch()
        message = await server.next_message()
        assert message is not None
        assert message["message"]["number"] == 99

    with opened(tmp_path / "other") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        arguments = (launch(tmp_path), listener, tmp_path, lambda text: None, log)
        run_scenario(tmp_path, scenario)


def test_close_ends_the_fork_server_and_closes_all_descriptors(tmp_path: Path) -> None:
    """Also if it has been killed before, and if it has ended by itself."""

    async def run(end: Callable[[ForkServerClient], None], program: str = HANGING_PROGRAM) -> None:
        before = open_files()
        command = (sys.executable, "-c", program, str(tmp_path))
        server = ForkServerClient(launch(tmp_path), listener, tmp_path, lambda text: None, log, command)
        await fork_job(server)
        end(server)
        server.close()
        assert open_files() == before
        with pytest.raises(ChildProcessError):  # it has been waited for
            os.waitpid(server.pid, os.WNOHANG)

    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run(lambda server: None))
        asyncio.run(run(lambda server: server.kill()))
        asyncio.run(run(lambda server: until_gone(server.pid), PROGRAM))


def until_gone(pid: int) -> None:
    """Wait until a child process has ended, and leave it to be waited for."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_fork_server_that_cannot_be_started_leaves_no_descriptor(tmp_path: Path) -> None:
    async def run() -> None:
        before = open_files()
        with pytest.raises(EngineError, match="cannot be started: No such file or directory"):
            ForkServerClient(launch(tmp_path), listener, tmp_path, lambda text: None, log, ("/no/such/program",))
        assert open_files() == before

    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())


def test_sighup_does_not_kill_the_fork_server_before_it_ignores_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGHUP)\n" + HANGING_PROGRAM

    async def run() -> None:
        server = ForkServerClient(
            launch(tmp_path), listener, tmp_path, lambda text: None, log, (sys.executable, "-c", code, ".")
        )
        async with asyncio.timeout(30):
            assert await server.next_message() == {"event": "imported"}
        server.close()
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())
