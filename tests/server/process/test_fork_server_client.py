"""The fork server's process as the supervisor sees it. A small program stands for it: it forks nothing."""

import asyncio
import contextlib
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

HOLDS_WORDS = """
import os, sys, time
from pathlib import Path
from maritalk_vllm.server.process.ipc_channel import Channel
folder = Path(sys.argv[1])
channel = Channel.inherited(int(sys.argv[-2]))
channel.send({"event": "imported"})
words = Channel.inherited(channel.receive()["descriptor"])
channel.receive()
channel.send({"event": "started", "job": "serve", "pid": os.getpid()})
while not (folder / "reads").exists():
    time.sleep(0.01)
while (word := words.receive())["number"] != 99:
    pass
channel.send({"event": "lost"})
channel.send({"event": "read", "word": words.receive()})
"""
"""An API process that hangs until a file is there; then it asks for the latest word once more."""


def end(server: ForkServerClient) -> None:
    server.kill()
    server._process.wait()
    server.close()


def scene(folder: Path, scenario: Callable[[ForkServerClient], Awaitable[None]]) -> None:
    async def run() -> None:
        command = (sys.executable, "-c", HOLDS_WORDS, str(folder))
        server = ForkServerClient(launch(folder), listener, folder, lambda text: None, log, command)
        try:
            async with asyncio.timeout(30):
                await scenario(server)
        finally:
            end(server)

    with opened(folder / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())


async def begun(server: ForkServerClient) -> None:
    assert await server.next_message() == {"event": "imported"}
    server.fork({"job": "serve"})
    message = await server.next_message()
    assert message is not None
    assert message["event"] == "started"


def test_a_process_that_hangs_keeps_the_supervisor_from_nothing_and_gets_the_latest_word(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        await begun(server)
        for number in range(100):
            server.tell({"number": number, "text": "a" * 60_000})
        (tmp_path / "reads").touch()
        message = await server.next_message()
        assert message is not None
        assert message["event"] == "read"
        assert message["word"]["number"] == 99

    scene(tmp_path, scenario)


def test_without_descriptors_a_word_waits_and_a_job_is_an_error(tmp_path: Path) -> None:
    async def scenario(server: ForkServerClient) -> None:
        await begun(server)
        with no_descriptors():
            server.tell({"number": 99, "text": "a" * 70_000})
            with pytest.raises(EngineError, match="cannot be started: Too many open files"):
                ForkServerClient(*arguments)
        (tmp_path / "reads").touch()
        message = await server.next_message()
        assert message is not None
        assert message["word"]["number"] == 99

    with opened(tmp_path / "other") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        arguments = (launch(tmp_path), listener, tmp_path, lambda text: None, log)
        scene(tmp_path, scenario)


def test_it_leaves_nothing_open(tmp_path: Path) -> None:
    async def run() -> None:
        opened_before = open_files()
        server = ForkServerClient(launch(tmp_path), listener, tmp_path, lambda text: None, log, command)
        await begun(server)
        end(server)
        assert open_files() == opened_before

    command = (sys.executable, "-c", HOLDS_WORDS, str(tmp_path))
    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())


def test_a_hangup_does_not_kill_it_before_it_can_ignore_the_signal(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGHUP)\n" + HOLDS_WORDS

    async def run() -> None:
        server = ForkServerClient(
            launch(tmp_path), listener, tmp_path, lambda text: None, log, (sys.executable, "-c", code, ".")
        )
        async with asyncio.timeout(30):
            assert await server.next_message() == {"event": "imported"}
        end(server)
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with opened(tmp_path / "log") as log, contextlib.closing(listen("127.0.0.1", 0)) as listener:
        asyncio.run(run())
