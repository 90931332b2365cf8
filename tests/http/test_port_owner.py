"""Which process listens on a port."""

import os
import socket
import subprocess
import sys

import psutil
import pytest

from maritalk_vllm.errors import PortError
from maritalk_vllm.http import listener
from maritalk_vllm.http.listener import listen
from maritalk_vllm.http.port_owner import PortOwner, port_owner

LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


def test_the_process_that_listens_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", LISTEN], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        port = int(process.stdout.readline())
        name = psutil.Process(process.pid).name()
        assert port_owner(port) == PortOwner(name, process.pid)
        with pytest.raises(PortError) as error:
            listen("127.0.0.1", port)
        assert error.value.message == f"Port {port} is in use by {name}, process {process.pid}."
        assert error.value.hint == "Stop that program, or choose another with --port."
        process.stdin.close()


def test_the_parent_of_forked_processes_with_the_port_is_named() -> None:
    """As the server, whose port its fork server and API processes hold too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        fork = "import os; os.fork() or os.fork(); print(end='x', flush=True); input()"
        listener_fd = server.fileno()
        with subprocess.Popen([sys.executable, "-c", fork], stdin=-1, stdout=-1, pass_fds=[listener_fd]) as child:
            assert child.stdin is not None and child.stdout is not None
            assert child.stdout.read(3) == b"xxx"
            owner = port_owner(server.getsockname()[1])
            assert owner is not None and owner.pid == os.getpid()
            child.stdin.close()


def test_a_connection_does_not_count() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert port_owner(client.getsockname()[1]) is None
        owner = port_owner(server.getsockname()[1])
        assert owner is not None and owner.pid == os.getpid()


def test_a_process_that_is_not_visible_is_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process of another user, whose descriptors the kernel does not show to this user."""
    monkeypatch.setattr(listener, "port_owner", lambda port: None)
    with socket.create_server(("127.0.0.1", 0)) as occupied, pytest.raises(PortError) as error:
        listen("127.0.0.1", occupied.getsockname()[1])
    assert error.value.message.endswith(" is in use by another program.")
