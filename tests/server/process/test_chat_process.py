"""The chat that the server starts at its own terminal: how it comes in, how it ends, and what it leaves behind.

The server here begins and ends the chat as the supervisor does, and no more; who answers has no model.
"""

import os
import shlex
import signal
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.settings import Settings
from tests.serving import marked_processes
from tests.terminals import Terminal, terminal
from tests.tools.chat.pretended import fake_server

SUPERVISOR = """
import asyncio, signal, sys
from maritalk_vllm.server.process.chat_process import ChatProcess

async def main():
    told, chat = asyncio.Event(), ChatProcess()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    chat.begin(sys.argv[1], ended=told.set)
    await told.wait()
    chat.end()
    print("over", chat.pid)

asyncio.run(main())
"""


def leave(window: Terminal, server: int, chat: int) -> None:
    window.press("C-d")


def stop_the_server(window: Terminal, server: int, chat: int) -> None:
    os.kill(server, signal.SIGTERM)


def kill_the_server(window: Terminal, server: int, chat: int) -> None:
    os.kill(server, signal.SIGKILL)


def kill_the_chat(window: Terminal, server: int, chat: int) -> None:
    os.kill(chat, signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "code"), [(leave, 0), (stop_the_server, 0), (kill_the_server, 137), (kill_the_chat, 0)]
)
def test_however_it_ends_the_terminal_is_as_it_was(
    tmp_path: Path, end: Callable[[Terminal, int, int], None], code: int
) -> None:
    mark = uuid.uuid4().hex  # of several runs at once each has its own
    environment = {"SERVER_UNDER_TEST": mark, "SPT_NOENV": "1", "XDG_STATE_HOME": str(tmp_path), "TERM": "screen"}
    environment |= {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "MARITALK_LANG")}
    before, after = shlex.quote(str(tmp_path / "before")), shlex.quote(str(tmp_path / "after"))
    with fake_server() as (model, server):
        run = shlex.join([sys.executable, "-c", SUPERVISOR, server.url])
        shell = f"stty -g > {before}; {run}; code=$?; sleep 0.5; stty -g > {after}; (exit $code)"
        with terminal(shell, environment) as window:
            window.wait_for_prompt()
            window.enter("um")
            window.wait_for("MariTalk: um")
            window.wait_for_prompt()
            processes = marked_processes(mark)
            (chat,) = (pid for pid, line in processes.items() if line.startswith("maritalk: chat"))
            (ours,) = (pid for pid, line in processes.items() if "add_signal_handler" in line and "stty" not in line)
            key = model.headers[0]["authorization"].removeprefix("Bearer ")
            told = "".join((Path("/proc") / str(chat) / name).read_text() for name in ("cmdline", "environ"))
            assert len(key) > 40
            assert key not in told
            end(window, ours, chat)
            window.wait_for(f"ended with {code}", seconds=10)
        assert {pid for pid in (ours, chat) if pid in marked_processes(mark)} == set()
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_one_more_key_where_there_are_keys_and_an_open_door_stays_open(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("theirs")
    for settings in (Settings(api_key=("theirs",)), Settings(api_key_file=tmp_path / "keys")):
        access = AccessConfig.of(settings).admitting("ours")
        keys = access.keys
        assert keys.find("ours") == hash_key("ours")
        assert keys.find("theirs")
        assert "ours" not in str(access.to_message())
        assert access.admitting("ours") == access
        assert not keys.are_several
    opened = AccessConfig.of(Settings()).admitting("ours")
    assert not opened.keys
    # A reload may add keys.
    assert replace(opened, digests=(hash_key("theirs"),)).keys.find("ours") == hash_key("ours")
