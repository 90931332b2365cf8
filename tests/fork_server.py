"""Fork server for our commands: imports their modules once, then forks a child for each command.

It is a program of its own and imports nothing from tests. `tests/commands.py` starts it in the environment of the
commands and sends it a request for each over a socket. The child runs the installed script as `__main__` and exits as
any interpreter does: its exit status and its atexit handlers are Python's.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import socket
import struct
import sys
import threading
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import TextIO, TypedDict

NUMBER = struct.Struct("q")
"""Wire format of a request's length, a process id and a wait status."""

IMPORTED_LATER = frozenset({"torch", "vllm", "transformers", "numpy", "ray", "huggingface_hub"})
"""Not imported before a fork: some of these modules read the environment or start threads when imported."""

NEEDED_LATER = ("filelock", "fsspec", "httpx2", "tqdm.auto", "yaml")
"""Modules that take up most of the time of importing huggingface_hub."""


class Request(TypedDict):
    """What a command needs besides its three descriptors."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    umask: int
    new_session: bool


def receive(connection: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes. Raises EOFError if the other side closes first."""
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise EOFError("The other process has ended.")
        data += more
    return data


def _import_the_commands() -> None:
    import maritalk_vllm

    before = dict(os.environ)
    for module in pkgutil.walk_packages(maritalk_vllm.__path__, "maritalk_vllm."):
        importlib.import_module(module.name)
    for name in NEEDED_LATER:
        importlib.import_module(name)
    assert not IMPORTED_LATER & sys.modules.keys()
    # No import may start a thread or change the environment: each command has its own.
    assert threading.active_count() == 1
    assert dict(os.environ) == before


def _keep_what_is_imported() -> None:
    """Keep the interpreter's shutdown from clearing these modules: that would copy all their memory in each child."""
    modules = {name: module for name, module in sys.modules.items() if name not in ("sys", "builtins", "__main__")}
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(modules))

    @atexit.register
    def leave() -> None:
        for name in modules:
            sys.modules.pop(name, None)


def _serve(control: socket.socket) -> Request | None:
    """Fork for each request; send the pid, later the wait status. Returns the request in a child, None at the end."""
    connections: dict[int, socket.socket] = {}
    with selectors.PollSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    assert isinstance(key.fileobj, int)
                    selector.unregister(key.fileobj)
                    os.close(key.fileobj)
                    _, status = os.waitpid(key.data, 0)
                    with connections.pop(key.data) as connection:
                        connection.send(NUMBER.pack(status))
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, 1, 4)
                if not message:
                    return None
                connection = socket.socket(fileno=descriptors.pop(0))
                if (child := os.fork()) == 0:
                    for other in (control, *connections.values()):
                        other.close()
                    for watched in selector.get_map().values():
                        if watched.fileobj is not control:  # the pidfd of another running child
                            os.close(watched.fd)
                    return _begin(connection, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                connections[child] = connection
                connection.send(NUMBER.pack(child))
                selector.register(os.pidfd_open(child), selectors.EVENT_READ, child)


def _begin(connection: socket.socket, descriptors: list[int]) -> Request:
    """Apply the request's descriptors, session, umask, folder and environment to this process."""
    with connection:
        request: Request = json.loads(receive(connection, *NUMBER.unpack(receive(connection, NUMBER.size))))
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    if request["new_session"]:
        os.setsid()
    os.umask(request["umask"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return request


def _opened(number: int, former: TextIO) -> TextIO:
    """Reopen a standard stream as Python does: the inherited object describes the fork server's file."""
    assert isinstance(former, TextIOWrapper)
    unbuffered = former.write_through
    raw = FileIO(number, "w" if number else "r", closefd=False)
    raw.name = former.name
    stream = TextIOWrapper(
        raw if unbuffered and number else BufferedWriter(raw) if number else BufferedReader(raw),
        encoding=former.encoding,
        errors=former.errors,
        newline="\n" if number else None,
        line_buffering=not unbuffered and (number == 2 or raw.isatty()),
        write_through=unbuffered,
    )
    stream.mode = raw.mode[0]  # type: ignore[misc]  # as Python does
    return stream


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    # The folder of an installed program. This file's has packages that are named as those of the standard library.
    sys.path[0] = str(Path(sys.executable).parent)
    _import_the_commands()
    _keep_what_is_imported()
    gc.collect()
    gc.freeze()
    request = _serve(control)
    if request is None:
        return
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _opened(number, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    program = request["arguments"][0]
    sys.argv = request["arguments"]
    sys.orig_argv = [sys.executable, *request["arguments"]]
    sys.path[0] = str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    _main()
