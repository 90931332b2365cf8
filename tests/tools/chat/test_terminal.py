"""The chat in a real terminal (tmux), with the real server."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.serving import BIN, Server
from tests.terminals import Terminal, terminal

LONG = "Count from 1 to 1000: 1, 2, 3, 4, 5, 6,"


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def set_up(window: Terminal) -> None:
    window.wait_for_prompt()
    window.enter("/parameters do_sample=false max_tokens=12")
    window.wait_for("max_tokens  12")
    window.wait_for_prompt()


def test_interactive_session(shared_server: Server, tmp_path: Path) -> None:
    """Several turns, an interrupted answer, a cleared line, a multi-line paste, and the history in the next chat."""
    chat = shlex.join([str(BIN / "maritalk-vllm"), "chat", "--url", f"http://127.0.0.1:{shared_server.port}"])
    variables = ("PATH", "HOME", "PYTHONPATH", "MARITALK_LANG")
    environment = {name: os.environ[name] for name in variables if name in os.environ}
    environment |= {"XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1"}
    record = tmp_path / "record.md"
    with terminal(f"{chat}; {chat}", environment) as window:
        set_up(window)
        assert f"demo at http://127.0.0.1:{shared_server.port}\n" in window.screen()
        window.enter("My name is Ana. Say hello to me.")
        window.wait_for("demo: ")
        window.wait_for_prompt()

        window.type("nothing of this is sent")
        window.wait_for("is sent")
        window.press("C-c")
        window.wait_for_prompt()

        window.paste("One:\ntwo and\nthree")
        window.wait_for("   two and\n   three")
        window.press("Enter")
        window.wait_for("demo: ", times=2)
        window.wait_for_prompt()

        window.enter("/parameters max_tokens=4000")
        window.wait_for_prompt()
        window.enter(LONG)
        window.wait_for("demo: ", times=3)
        wait_until(lambda: window.screen().rpartition("demo: ")[2].strip() != "")
        window.press("C-c")
        window.wait_for("Stopped. The partial answer is kept.")
        window.wait_for_prompt()
        wait_until(lambda: shared_server.ask().json["status"] == "idle")

        window.enter(f"/save {record}")
        window.wait_for("Written: ")
        window.press("C-d")
        window.wait_for("shows the commands", times=2)
        window.wait_for_prompt()
        for _ in range(3):
            window.press("Up")
        window.wait_for(f">> {LONG}")
        window.press("Up")
        window.wait_for(">> One:\n   two and\n   three", times=2)
        window.press("C-c", "C-d")
        window.wait_for("ended with 0")
        assert "nothing of this" not in window.screen()
    turns = record.read_text().split("## You\n\n")[1:]
    questions = [turn.split("\n\n## demo\n\n")[0] for turn in turns]
    assert questions == ["My name is Ana. Say hello to me.", "One:\ntwo and\nthree", LONG]
    assert all(turn.split("## demo\n\n")[1].strip() for turn in turns)
    (history,) = (tmp_path / "state").rglob("chat-history")
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o777 == 0o700


def test_context_is_trimmed_by_the_servers_token_count(shared_server: Server, tmp_path: Path) -> None:
    """8192 tokens, of which the answer may take 8000: old turns are dropped, or the server's error is printed."""
    short = """/parameters do_sample=false max_tokens=8000 'stop_sequences=["a", "e", "i", "o", "u", " "]'"""
    lines = [short, "one " * 100, "two " * 100, "three " * 300]
    result = subprocess.run(
        [BIN / "maritalk-vllm", "chat", "--url", f"http://127.0.0.1:{shared_server.port}"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1
    notes = [line for line in result.stderr.splitlines() if line.endswith(".")]  # not what was set
    assert notes[0] == "The context is full. Oldest turns that are not sent any more: 1."
    assert "8192" in notes[1]
    assert len(notes) == 2
