"""A container without an engine: an image's files in namespaces of their own, with what the kernel offers for it."""

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
"""The minor numbers of those that every container has."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine at a path of the container, or memory where there is none."""

    target: str
    source: Path | None = None
    read_only: bool = False


@dataclass
class Options:
    """What a container is given beside its image."""

    command: list[str]
    environment: dict[str, str]
    user: tuple[int, int]
    groups: tuple[int, ...] = ()
    mounts: list[Mount] = field(default_factory=list)
    folder: str = "/"
    read_only: bool = False
    privileges: bool = True
    """False: no capability can be had, and no program brings any (allowPrivilegeEscalation, capabilities.drop)."""


class Container:
    """`layers` are the image's; whatever is written beside the mounts goes into a folder of its own."""

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
        """Its first process, as this machine numbers it."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while not (found := children.read_text().split()):  # it is about to be forked
            assert self._process.poll() is None, self.told()
            time.sleep(0.01)
        return int(found[0])

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command inside, as `docker exec` runs it."""
        enter = ["nsenter", "--target", str(self.pid), *_NAMESPACES, "--root", "--wdns=/"]
        return subprocess.run([*enter, *_as_user(self._options, list(command))], capture_output=True, text=True)

    def ask(self, path: str, body: object = None, port: int = 9000) -> tuple[int, Any]:
        """The status and the JSON of an answer; status 0 where there is none yet. The network within has no other."""
        curl = ["curl", "--silent", "--max-time", "120", "--write-out", "\n%{http_code}"]
        sent = [] if body is None else ["--data", json.dumps(body)]
        url = f"http://127.0.0.1:{port}{path}"
        entered = ["nsenter", "--target", str(self.pid), "--net", *curl, *sent, url]
        answer, _, status = subprocess.run(entered, capture_output=True, text=True).stdout.rpartition("\n")
        return int(status or 0), json.loads(answer) if answer else None

    def wait_until(self, path: str, seconds: float, port: int = 9000) -> float:
        """Until a probe is answered with 200; how long after the start that was."""
        while self.ask(path, port=port)[0] != 200:
            assert self._process.poll() is None, self.told()
            assert time.monotonic() < self.began + seconds, f"not ready after {seconds:.0f} s: {self.told()}"
            time.sleep(0.2)
        return time.monotonic() - self.began

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended by itself."""
        return self._process.wait(timeout=seconds)

    def stop(self, signal_name: str = "SIGTERM", seconds: float = 60) -> tuple[int, float]:
        """Its exit code after a signal, and how long that took."""
        began = time.monotonic()
        os.kill(self.pid, signal.Signals[signal_name])
        return self._process.wait(timeout=seconds), time.monotonic() - began

    def kill(self) -> None:
        """End it, whatever it is at: its first process takes all others along."""
        self._process.kill()
        self._process.wait()

    def told(self) -> str:
        return self.output.read_text() + self.errors.read_text()


def _script(root: Path, options: Options) -> str:
    """As the first process of its namespaces: mount what belongs there, then become the command."""
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
