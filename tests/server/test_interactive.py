"""`maritalk-serve --interactive` with a stub engine: the server and its chat share one terminal.

tests/tools/chat/test_terminal.py tests the chat, which is a client like any other, with a real model.
"""

import os
import shlex
import signal
import time
import uuid
from pathlib import Path

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.server.test_tls import Authority
from tests.serving import free_port, marked_processes, note
from tests.stub_engine import script
from tests.stub_engine.server import COMMAND, ROOT
from tests.terminals import Terminal, terminal


def running(mark: str, title: str) -> int:
    (pid,) = (pid for pid, line in marked_processes(mark).items() if line.startswith(title))
    return pid


def count_for_long(window: Terminal, answers: int) -> None:
    """Send a question with a long answer, and wait until the answer has begun."""
    window.enter("Count from 1 to 1000: 1, 2, 3, 4, 5, 6,")
    window.wait_for("demo: token", times=answers)


def test_the_chat_of_a_stub_engine_survives_ctrl_c_and_an_engine_death(tmp_path: Path) -> None:
    """With an API key and HTTPS. Ctrl-C stops the answer, not the server; the chat waits while the engine restarts."""
    script.write(tmp_path, loading=["go", "wait 2"])
    settings, mark = Authority().certify(tmp_path), uuid.uuid4().hex
    command = [*COMMAND, "--license", EVALUATION_KEY, "--port", str(free_port()), "--interactive"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--api-key", "theirs", "--drain-timeout", "5"]
    command += ["--ssl-certfile", str(settings.ssl_certfile), "--ssl-keyfile", str(settings.ssl_keyfile)]
    variables = ("PATH", "HOME", "MARITALK_LANG", "MARITALK_LICENSE_SERVICE")
    environment = {name: os.environ[name] for name in variables if name in os.environ}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path),
        "NO_COLOR": "1",
        "SERVER_UNDER_TEST": mark,
        "SPT_NOENV": "1",
    }
    with terminal(f"cd {shlex.quote(str(tmp_path))}; {shlex.join(command)}", environment) as window:
        window.wait_for("Listening on https://")
        window.wait_for_prompt()
        window.enter("/parameters do_sample=false max_tokens=4000")
        window.wait_for("max_tokens  4000")
        window.wait_for_prompt()

        count_for_long(window, answers=1)
        window.press("C-c")
        window.wait_for("Stopped. The partial answer is kept.")
        window.wait_for_prompt()

        count_for_long(window, answers=2)
        began = time.monotonic()
        os.kill(running(mark, "maritalk: serve"), signal.SIGKILL)
        window.wait_for("The model is being loaded. This waits for it.")
        window.wait_for("The model is available again.")
        note(f"a chat continues {time.monotonic() - began:.1f} s after the API process was killed")
        window.wait_for_prompt()

        window.enter("/parameters max_tokens=8")
        window.wait_for_prompt()
        window.enter("Hello!")
        window.wait_for("demo: token token token token token token token token\n")
        window.wait_for_prompt()
        window.press("C-d")
        screen = window.wait_for("ended with 0", seconds=30)
        # Except for the window's shell and the `cat` that keeps it open.
        left = [line for line in marked_processes(mark).values() if "ended with" not in line and line != "cat "]
        assert left == []
    assert "Traceback" not in screen
