"""Containers without a container engine: an image's files in namespaces of their own."""

import json
import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.image.layers import mount_overlay

_NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts")
_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
"""Minor numbers of the devices that every container has."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host folder at a path of the container, or a tmpfs if `source` is None."""

    target: str
    source: Path | None = None
    read_only: bool = False


@dataclass
class Options:
    """The settings of a container besides its image."""

    command: list[str]
    environment: dict[str, str]
    user: tuple[int, int]
    groups: tuple[int, ...] = ()
    mounts: list[Mount] = field(default_factory=list)
    folder: str = "/"
    read_only: bool = False
    privileges: bool = True
    """False: no capabilities, not even those of a program (allowPrivilegeEscalation, capabilities.drop)."""


class Container:
    """A running container. `layers` are the image's; writes outside the mounts go into a folder of its own."""

    def __init__(self, layers: list[Path], options: Options, folder: Path) -> None:
        self._options = options
        self.output, self.errors = folder / "stdout", folder / "stderr"
        root = folder / "root"
        for name in ("layer", "work", "root"):
            (folder / name).mkdir(parents=True)
        mount_overlay(root, layers, folder / "layer", folder / "work")
        self.began = time.monotonic()
        with self.output.open("wb") as out, self.errors.open("wb") as err:
            command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", "-c", _script(root, options), "sh"]
            self._process = subprocess.Popen(
                [*command, *_as_user(options, options.command)], stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def pid(self) -> int:
        """The host's pid of the container's first process."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while not (found := children.read_text().split()):  # not forked yet
            assert self._process.poll() is None, self.logs()
            time.sleep(0.01)
        return int(found[0])

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run another command in the container, as `docker exec` does."""
        enter = ["nsenter", "--target", str(self.pid), *_NAMESPACES, "--root", "--wdns=/"]
        return subprocess.run([*enter, *_as_user(self._options, list(command))], capture_output=True, text=True)

    def ask(self, path: str, body: object = None, port: int = 9000) -> tuple[int, Any]:
        """Status and JSON of a response; status 0 if nothing answers. Sent inside, since the network is isolated."""
        curl = ["curl", "--silent", "--max-time", "120", "--write-out", "\n%{http_code}"]
        sent = [] if body is None else ["--data", json.dumps(body)]
        url = f"http://127.0.0.1:{port}{path}"
        entered = ["nsenter", "--target", str(self.pid), "--net", *curl, *sent, url]
        answer, _, status = subprocess.run(entered, capture_output=True, text=True).stdout.rpartition("\n")
        return int(status or 0), json.loads(answer) if answer else None

    def wait_until(self, path: str, seconds: float, port: int = 9000) -> float:
        """Wait until a probe answers 200; return the seconds since the start."""
        while self.ask(path, port=port)[0] != 200:
            assert self._process.poll() is None, self.logs()
            assert time.monotonic() < self.began + seconds, f"not ready after {seconds:.0f} s: {self.logs()}"
            time.sleep(0.2)
        return time.monotonic() - self.began

    def wait(self, seconds: float) -> int:
        """Wait until the container exits by itself; return its exit code."""
        return self._process.wait(timeout=seconds)

    def stop(self, signal_name: str = "SIGTERM", seconds: float = 60) -> tuple[int, float]:
        """Send a signal; return the exit code, and the seconds that the exit took."""
        began = time.monotonic()
        os.kill(self.pid, signal.Signals[signal_name])
        return self._process.wait(timeout=seconds), time.monotonic() - began

    def kill(self) -> None:
        """Kill the container: the end of its first process ends all others."""
        self._process.kill()
        self._process.wait()

    def logs(self) -> str:
        return self.output.read_text() + self.errors.read_text()


def _script(root: Path, options: Options) -> str:
    """The shell script of the container's first process: it mounts the file systems, then executes the command."""
    lines = ["set -e", "ip link set lo up"]
    lines += [f"mount -t proc proc {root}/proc", f"mount -t sysfs -o ro sysfs {root}/sys"]
    lines += [f"mount -t tmpfs -o mode=755 tmpfs {root}/dev", f"mkdir {root}/dev/shm"]
    lines += [f"mknod -m 666 {root}/dev/{name} c 1 {minor}" for name, minor in _DEVICES.items()]
    lines += [f"ln -s /proc/self/fd {root}/dev/fd", f"mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm"]
    for mount in options.mounts:
        place = shlex.quote(f"{root}{mount.target}")
        lines.append(f"mkdir -p {place}")
        if mount.source is None:
            lines.append(f"mount -t tmpfs -o mode=1777 tmpfs {place}")
        else:
            lines.append(f"mount --bind {shlex.quote(str(mount.source))} {place}")
        if mount.read_only:
            lines.append(f"mount -o remount,bind,ro {place}")
    if options.read_only:
        lines.append(f"mount -o remount,ro {root}")
    lines.append(f'exec chroot {root} "$@"')
    return "\n".join(lines)


def _as_user(options: Options, command: list[str]) -> list[str]:
    user, group = options.user
    groups = ["--groups", ",".join(map(str, options.groups))] if options.groups else ["--clear-groups"]
    limits = [] if options.privileges else ["--bounding-set=-all", "--no-new-privs"]
    become = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", *groups, "--inh-caps=-all", *limits]
    pairs = [f"{name}={value}" for name, value in options.environment.items()]
    return [*become, "/usr/bin/env", "-i", f"--chdir={options.folder}", *pairs, *command]
