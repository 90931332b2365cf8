"""`ray start` on this node: vLLM can start its workers on the other nodes through a Ray cluster."""

import asyncio
import contextlib
import hmac
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from ...errors import EngineError, UsageError
from ...i18n.message import msg
from ...settings import Device
from .cluster_config import ClusterConfig

ADDRESS = "RAY_ADDRESS"
"""Ray's variable for the address of an existing cluster: if it is set, no cluster is started."""

MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Ray's variables for the token of a cluster's processes: without one, any host that reaches them can run commands."""

_DEFAULT_TOKEN_FILE = Path(".ray", "auth_token")
"""Relative to the home folder, where `ray get-auth-token --generate` writes it."""

MIN_RAY_VERSION = (2, 54)
"""Older versions have no such tokens, or expose them to web pages."""

_STARTED_MARKER = "runtime started"
_MIN_TOKEN_CHARACTERS = 16
_START_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.2


def check_ray(group: ClusterConfig, device: Device) -> None:
    """Raise EngineError if vLLM or this node cannot use Ray, and UsageError for a follower in an existing cluster."""
    if device is Device.CPU:
        # "current platform cpu does not support ray" (vllm/v1/executor/ray_utils.py, 0.32): it has no ray_device_key.
        raise EngineError(
            "vLLM starts workers through Ray on GPUs alone.",
            "Leave --distributed-backend out: its own mp does it here.",
        )
    if importlib.util.find_spec("ray") is None:
        raise EngineError(
            "Ray is not installed.", 'Install it on every node, in a clone of the repository: pip install ".[ray]".'
        )
    if ADDRESS in os.environ and not group.is_leader:
        raise UsageError(
            msg("{name} names a Ray cluster, which starts the workers of other nodes by itself.", name=ADDRESS),
            "Start node 0 alone, or unset it on all nodes.",
        )
    check_version(installed_ray())
    if not uses_existing_cluster():
        check_token({**token_variable(group), **os.environ})


def installed_ray() -> str:
    """Return the version of the installed Ray."""
    return importlib.metadata.version("ray")


def check_version(version: str) -> None:
    """Raise EngineError for a version of Ray whose open ports are not safe."""
    if Version(version).release[:2] < MIN_RAY_VERSION:
        minimum = ".".join(map(str, MIN_RAY_VERSION))
        raise EngineError(
            msg("Ray {version} is older than {least}, and has known vulnerabilities.", version=version, least=minimum),
            msg('Update it on every node: pip install "ray>={least}".', least=minimum),
        )


def token_variable(group: ClusterConfig) -> dict[str, str]:
    """Return the variable with a token derived from the group's secret; empty if the group has no secret."""
    return {TOKEN: hmac.digest(group.secret, b"ray", "sha256").hex()} if group.secret is not None else {}


def check_token(environment: Mapping[str, str]) -> None:
    """Raise UsageError if Ray would accept commands without a token, or reject the nodes."""
    if environment.get(MODE, "token").lower() != "token":
        raise UsageError(
            msg(
                "{mode} is {environment}: anyone who reaches Ray's ports can run commands here.",
                mode=MODE,
                environment=environment[MODE],
            ),
            "Unset it, or set it to token, on every node.",
        )
    file = environment.get(TOKEN_FILE) or Path(environment.get("HOME", "/"), _DEFAULT_TOKEN_FILE)
    try:
        token = environment.get(TOKEN) or Path(file).read_text()
    except (OSError, ValueError):
        token = ""
    if len(token.strip()) < _MIN_TOKEN_CHARACTERS:
        raise UsageError(
            msg(
                "Ray needs a token of at least {number} characters, the same on every node.",
                number=_MIN_TOKEN_CHARACTERS,
            ),
            msg("Give --nodes-secret-file on every node, or a token of its own in {token}.", token=TOKEN),
        )


def uses_existing_cluster() -> bool:
    """Return whether the user named an existing Ray cluster, whose nodes do not run this server."""
    return ADDRESS in os.environ


class RayNode:
    """`ray start` as a child process of the supervisor, with which it exits."""

    def __init__(
        self, group: ClusterConfig, own_address: str, gpus: int, environment: Mapping[str, str], log: Path
    ) -> None:
        """`log`: the file for Ray's output."""
        self._group = group
        self._own_address = own_address
        self._gpus = gpus
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port of the cluster."""
        host = f"[{self._group.head}]" if ":" in self._group.head else self._group.head
        return f"{host}:{self._group.port}"

    @property
    def authentication(self) -> dict[str, str]:
        """Variables for each process of the cluster: they use the user's token, or else one derived from the secret."""
        has_own_token = bool({TOKEN, TOKEN_FILE} & self._environment.keys())
        return {MODE: "token", **({} if has_own_token else token_variable(self._group))}

    @property
    def command(self) -> list[str]:
        """The command: the leader's creates the cluster, and a follower's joins it."""
        head_options = ["--head", "--port", str(self._group.port), "--include-dashboard", "false"]
        return [
            *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            *(head_options if self._group.is_leader else ["--address", self.address]),
            *("--node-ip-address", self._own_address, "--num-gpus", str(self._gpus)),
        ]

    async def start(self) -> None:
        """Start Ray and wait until it runs. Raises EngineError."""
        self._process = process = self._spawn()
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_SECONDS
        while _STARTED_MARKER not in (output := self._read_log()):
            if process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                last = output.strip().rpartition("\n")[2].rstrip(".")
                raise EngineError(
                    msg("Ray does not start: {reason}.", reason=last),
                    msg("Its log: {engine_log}", engine_log=self._log),
                )
            await asyncio.sleep(_POLL_SECONDS)

    def _read_log(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")
        return ""

    def _spawn(self) -> "subprocess.Popen[bytes]":
        try:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise EngineError(
                msg("Ray's log {file} cannot be written: {reason}.", file=self._log, reason=error.strerror)
            ) from error
        with os.fdopen(log, "wb"):
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "maritalk_vllm.server.process.run_tied", str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.authentication, **self._environment},
                # In its own session, so that Ctrl-C in a terminal reaches only the supervisor.
                start_new_session=True,
            )

    async def wait_for_exit(self) -> None:
        """Wait until Ray exits by itself. Always raises EngineError."""
        assert self._process is not None
        while self._process.poll() is None:
            await asyncio.sleep(_POLL_SECONDS)
        raise EngineError("Ray has ended on this node.", msg("Its log: {engine_log}", engine_log=self._log))
