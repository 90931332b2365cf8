"""`maritalk-vllm reload` finds the server's main process, and signals no other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.test_config import run_tool
from tests.serving import free_port

PROGRAM = """
import os, signal, socket, sys, setproctitle
received = []
signal.signal(signal.SIGHUP, lambda *_: received.append(True))
listener = socket.create_server(("127.0.0.1", 0))
setproctitle.setproctitle(sys.argv[1])
if os.fork() == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    setproctitle.setproctitle("maritalk: serve")
    if sys.argv[2] == "child":
        input()
    os._exit(0)
if sys.argv[2] == "child":
    port = listener.getsockname()[1]
    listener.close()  # the child alone is found
    print(port, flush=True)
else:
    os.wait()
    print(listener.getsockname()[1], flush=True)
signal.pause()
print(bool(received), flush=True)
"""
"""A process with a title that listens on a port, or a child of which does."""


@contextmanager
def listening(title: str, listener: str = "itself") -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """The process and its port."""
    command = [sys.executable, "-c", PROGRAM, title, listener]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("listener", ["itself", "child"])
def test_the_main_process_is_signalled(listener: str) -> None:
    """Also where the process that is found is one below it, which the signal would end."""
    with listening("maritalk-serve http://127.0.0.1:1", listener) as (process, port):
        result = run_tool("reload", "--port", port)
        text = f"The server, process {process.pid}, reads its configuration again. Its log has the result.\n"
        assert (result.returncode, result.stdout, result.stderr) == (0, text, "")
        assert process.stdout is not None and process.stdout.readline() == "True\n"


SERVER = """
import http.server, json, signal, sys, setproctitle
reports = [{"status": "ready", "phase": "ready"}, {"status": "ready", "phase": "ready", **json.loads(sys.argv[1])}]
signal.signal(signal.SIGHUP, lambda *_: reports.pop(0))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(reports[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
setproctitle.setproctitle("maritalk-serve")
print(server.server_port, flush=True)
server.serve_forever()
"""
"""A server whose /readyz has these fields, too, after SIGHUP."""


@contextmanager
def answering(**after: object) -> Iterator[tuple[int, str]]:
    """The process id of the server and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, json.dumps(after)], stdout=-1, stderr=-3, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()


def test_a_reload_that_the_server_has_handled_is_reported() -> None:
    with answering(reloads=1, problems=["The log is lost."]) as (pid, port):
        result = run_tool("reload", "--port", port)
    text = f"The server, process {pid}, has reloaded its files.\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, text, "")


def test_problems_of_a_reload_are_an_error() -> None:
    problem = "The configuration file cannot be used: the options that were read before stay in use."
    with answering(reloads=1, problems=["The log is lost."], not_applied=[problem]) as (pid, port):
        result = run_tool("reload", "--port", port)
    text = f"The server, process {pid}, could not use all of its files. {problem} Its log has the reasons."
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"maritalk-vllm: {text}\n")


def test_another_program_is_not_signalled() -> None:
    with listening("another") as (process, port):
        result = run_tool("reload", "--port", port)
        assert (result.returncode, result.stdout) == (1, "")
        assert f"Port {port} is in use by another, process {process.pid}. It is no maritalk-serve." in result.stderr
        assert process.poll() is None
        os.kill(process.pid, 0)


def test_a_port_without_a_server() -> None:
    port = free_port()
    result = run_tool("reload", "--port", str(port))
    assert result.returncode == 1
    assert f"No server of this user listens on port {port} of this machine." in result.stderr


def test_a_reload_needs_a_fixed_port() -> None:
    assert run_tool("reload", "--port", "0").returncode == 2
