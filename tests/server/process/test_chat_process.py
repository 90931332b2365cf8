"""The chat process of --interactive: its API key, how it ends, and the state in which it leaves the terminal.

The program under test only starts and stops the chat, as the parent does. A server without a model answers it.
"""

import asyncio
import os
import shlex
import signal
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from maritalk_vllm.server.messaging.direction import encode_value
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.process.chat_process import ChatProcess
from maritalk_vllm.settings import Settings
from tests.server.event_loop import never_blocked
from tests.serving import marked_processes, until
from tests.terminals import Terminal, terminal
from tests.tools.chat.fake_server import fake_server

SUPERVISOR = """
import asyncio, signal, sys
from maritalk_vllm.server.process.chat_process import ChatProcess

async def main():
    stop_requested, chat = asyncio.Event(), ChatProcess()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop_requested.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    chat.start(sys.argv[1], on_exit=stop_requested.set)
    await stop_requested.wait()
    await chat.stop()
    print("stopped", chat.pid)

asyncio.run(main())
"""


def exit_chat(window: Terminal, server: int, chat: int) -> None:
    window.press("C-d")


def stop_server(window: Terminal, server: int, chat: int) -> None:
    os.kill(server, signal.SIGTERM)


def kill_server(window: Terminal, server: int, chat: int) -> None:
    os.kill(server, signal.SIGKILL)


def kill_chat(window: Terminal, server: int, chat: int) -> None:
    os.kill(chat, signal.SIGKILL)


@pytest.mark.parametrize(("end", "code"), [(exit_chat, 0), (stop_server, 0), (kill_server, 137), (kill_chat, 0)])
def test_the_terminal_is_restored_however_the_chat_ends(
    tmp_path: Path, end: Callable[[Terminal, int, int], None], code: int
) -> None:
    mark = uuid.uuid4().hex  # distinguishes concurrent test runs
    environment = {"SERVER_UNDER_TEST": mark, "SPT_NOENV": "1", "XDG_STATE_HOME": str(tmp_path), "TERM": "screen"}
    environment |= {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "MARITALK_LANG")}
    before, gone, after = (shlex.quote(str(tmp_path / name)) for name in ("before", "gone", "after"))
    with fake_server() as (model, server):
        run = shlex.join([sys.executable, "-c", SUPERVISOR, server.url])
        wait = f"until [ -e {gone} ]; do sleep 0.05; done"  # a chat outlives a killed server by a moment
        shell = f"stty -g > {before}; {run}; code=$?; {wait}; stty -g > {after}; (exit $code)"
        with terminal(shell, environment) as window:
            window.wait_for_prompt()
            window.enter("um")
            window.wait_for("MariTalk: um")
            window.wait_for_prompt()
            processes = marked_processes(mark)
            (chat,) = (pid for pid, line in processes.items() if line.startswith("maritalk: chat"))
            (parent,) = (pid for pid, line in processes.items() if "add_signal_handler" in line and "stty" not in line)
            key = model.headers[0]["authorization"].removeprefix("Bearer ")
            visible = "".join((Path("/proc") / str(chat) / name).read_text() for name in ("cmdline", "environ"))
            assert len(key) > 40
            assert key not in visible
            end(window, parent, chat)
            until(lambda: marked_processes(mark).keys().isdisjoint({parent, chat}), "the end of server and chat")
            (tmp_path / "gone").touch()
            window.wait_for(f"ended with {code}", seconds=30)
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_a_chat_that_does_not_end_is_killed_without_blocking_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    async def scenario() -> None:
        chat = ChatProcess()
        chat.start("http://127.0.0.1:1", on_exit=lambda: None)
        pid = chat.pid
        async with never_blocked():
            await chat.stop()
        assert chat.pid is None
        assert not Path(f"/proc/{pid}").exists()

    asyncio.run(scenario())


def test_the_chat_key_is_added_to_keys_and_does_not_enable_authentication(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("user-key")
    for settings in (Settings(api_key=("user-key",)), Settings(api_key_file=tmp_path / "keys")):
        access = AccessConfig.from_settings(settings).with_extra_key("chat-key")
        keys = access.keys
        assert keys.match("chat-key") == hash_key("chat-key")
        assert keys.match("user-key")
        assert b"chat-key" not in msgspec.msgpack.encode(access, enc_hook=encode_value)
        assert access.with_extra_key("chat-key") == access
        assert not keys.are_several
    without_keys = AccessConfig.from_settings(Settings()).with_extra_key("chat-key")
    assert not without_keys.keys
    # A reload may add keys.
    assert replace(without_keys, digests=(hash_key("user-key"),)).keys.match("chat-key") == hash_key("chat-key")
