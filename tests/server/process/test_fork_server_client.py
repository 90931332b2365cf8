"""The supervisor's client of the fork server. A small program that forks nothing stands for the fork server."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from maritalk_vllm.engine.engine_address import EngineAddress
from maritalk_vllm.errors import EngineError
from maritalk_vllm.http.listener import listen
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.process.descriptors import Descriptor, InheritedDescriptor
from maritalk_vllm.server.process.fork_server_client import Event, ForkServerClient, ProcessEnded
from maritalk_vllm.server.process.process_messages import (
    Failed,
    Imported,
    JobName,
    Progress,
    Serve,
    ServingOptions,
    Started,
    UpdateOptions,
)
from maritalk_vllm.server.status.startup_timings import StartupTimings
from maritalk_vllm.settings import TimeUnit
from tests.descriptors import open_descriptors
from tests.server.cluster.test_compatibility import launch
from tests.server.messaging.samples import frame
from tests.server.process.test_ipc_channel import no_descriptors
from tests.server.process.test_log_file import opened

PROGRAM = """
import os, sys, time
from pathlib import Path
from maritalk_vllm.server.process.ipc_channel import Channel
from maritalk_vllm.server.process.process_messages import *
folder = Path(sys.argv[1])
channel = Channel.from_descriptor(int(sys.argv[-2]), JOBS, TO_SUPERVISOR)
channel.send(Imported())
job = channel.receive()
control_channel = Channel.from_descriptor(job.control_channel.number, CONTROL, None)
channel.send(Started(job.name, os.getpid()))
"""

HANGING_PROGRAM = (
    PROGRAM
    + """
while not (folder / "reads").exists():
    time.sleep(0.01)
while control_channel.receive().options.drain_timeout != 99:
    pass
channel.send(UpdateLost())
channel.send(Progress(str(control_channel.receive().options.drain_timeout)))
"""
)
"""An API process that hangs until a file exists; then it asks for the latest control message again."""


def serve_job(folder: Path, control_channel: Descriptor) -> Serve:
    return Serve(
        engine_args=[],
        environment={},
        listener=InheritedDescriptor(0),
        control_channel=control_channel,
        engine=EngineAddress("in", "out"),
        time_unit=TimeUnit.SECONDS,
        is_demo=False,
        data_dir=None,
        timings=StartupTimings(),
        log=folder / "log",
        options=options(1, 0),
    )


def options(number: int, size: int) -> ServingOptions:
    return ServingOptions(
        access=AccessConfig(),
        file_problems={"config": "a" * size},
        drain_timeout=number,
        engine_timeout=1,
        batch_retention=1,
        files_per_key_bytes=None,
        flex_timeout=1,
        resume_timeout=1,
    )


def control_message(number: int, size: int) -> UpdateOptions:
    return UpdateOptions(options(number, size))


def run_scenario(
    folder: Path, scenario: Callable[[ForkServerClient], Awaitable[None]], program: str = HANGING_PROGRAM
) -> None:
    async def run() -> None:
        command = (sys.executable, "-c", program, str(folder))
        server = ForkServerClient(launch(folder), listener, folder, lambda text: None, log, command)
        try:
            async with asyncio.timeout(30):
                await scenario(server)
        finally:
            server.close()

    with opened(folder / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())


async def fork_job(server: ForkServerClient, folder: Path) -> None:
    assert await server.next_event() == Imported()
    with server.connections[0].new_channel() as control_channel:
        server.fork(serve_job(folder, control_channel))
    assert await server.next_event() == Started(JobName.SERVE, server.pid)


async def events_until_end(server: ForkServerClient) -> list[Event]:
    events = []
    while (event := await server.next_event()) is not None:
        events.append(event)
    return events


def test_a_hung_process_does_not_block_the_client_and_gets_the_latest_message(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        await fork_job(server, tmp_path)
        for number in range(100):
            server.send_control(control_message(number, 60_000))
        (tmp_path / "reads").touch()
        assert await server.next_event() == Progress("99.0")

    run_scenario(tmp_path, scenario)


def test_without_descriptors_a_control_message_is_retried_and_a_start_fails(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        await fork_job(server, tmp_path)
        with no_descriptors():
            server.send_control(control_message(99, 70_000))
            with pytest.raises(EngineError, match="cannot be started: Too many open files"):
                ForkServerClient(*arguments)
        (tmp_path / "reads").touch()
        assert await server.next_event() == Progress("99.0")

    with opened(tmp_path / "other") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        arguments = (launch(tmp_path), listener, tmp_path, lambda text: None, log)
        run_scenario(tmp_path, scenario)


def test_close_ends_the_fork_server_and_closes_all_descriptors(tmp_path: Path) -> None:
    """Also if it has been killed before, and if it has ended by itself."""

    async def run(end: Callable[[ForkServerClient], None], program: str = HANGING_PROGRAM) -> None:
        before = open_descriptors()
        command = (sys.executable, "-c", program, str(tmp_path))
        server = ForkServerClient(launch(tmp_path), listener, tmp_path, lambda text: None, log, command)
        await fork_job(server, tmp_path)
        end(server)
        server.close()
        assert open_descriptors() == before
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
        before = open_descriptors()
        with pytest.raises(EngineError, match="cannot be started: No such file or directory"):
            ForkServerClient(launch(tmp_path), listener, tmp_path, lambda text: None, log, ("/no/such/program",))
        assert open_descriptors() == before

    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (frame(b"\x81\xa4type\xa3New"), "its type 'New' is unknown"),
        (frame(b"\x81\xa4type\xa8Progress"), "Progress: Object missing required field `step`"),
        (frame(b"x"), "Expected `object`, got `int`"),
    ],
)
def test_a_process_that_sends_an_invalid_message_is_killed_with_an_error(
    tmp_path: Path, packet: bytes, problem: str
) -> None:
    """This happens after an update of the program while the server runs."""

    async def scenario(server: ForkServerClient) -> None:
        await fork_job(server, tmp_path)
        failure, ended = await events_until_end(server)
        assert isinstance(failure, Failed)
        start = "A message from the engine's processes to the supervisor is invalid: "
        assert failure.error.message == f"{start}{problem}."
        assert failure.error.hint
        assert ended == ProcessEnded(JobName.SERVE, -signal.SIGKILL, server.pid)

    run_scenario(tmp_path, scenario, PROGRAM + f"channel._end.send({packet!r}); time.sleep(600)")


def test_a_fork_server_that_sends_an_invalid_message_is_killed_with_an_error(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        (failure,) = await events_until_end(server)
        assert isinstance(failure, Failed)
        assert failure.error.message.endswith("its header ends after 1 of 4 bytes.")
        assert not server.is_alive

    start = PROGRAM.partition("channel.send(Imported())")[0]
    run_scenario(tmp_path, scenario, start + "channel._end.send(b'x'); time.sleep(600)")


def test_sighup_does_not_kill_the_fork_server_before_it_ignores_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGHUP)\n" + HANGING_PROGRAM

    async def run() -> None:
        server = ForkServerClient(
            launch(tmp_path), listener, tmp_path, lambda text: None, log, (sys.executable, "-c", code, ".")
        )
        async with asyncio.timeout(30):
            assert await server.next_event() == Imported()
        server.close()
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())
