"""This node's place in a Ray cluster, through which vLLM starts its workers on the other nodes."""

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
from ...settings import Device
from .cluster_config import ClusterConfig

ADDRESS = "RAY_ADDRESS"
"""Ray's own variable for a cluster that is there: then none is started."""

MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Ray's own variables for the token of a cluster's processes: without one, any host that reaches them runs commands."""

_USUAL_TOKEN_FILE = Path(".ray", "auth_token")
"""In the home folder, where `ray get-auth-token --generate` writes it."""

LEAST_RAY = (2, 54)
"""Older ones have no such tokens, or hand them to web pages."""

_STARTED = "runtime started"
_SHORTEST_TOKEN = 16
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.2


def check_ray(group: ClusterConfig, device: Device) -> None:
    """Raises EngineError where vLLM or this machine cannot use Ray, and UsageError where it needs no such node."""
    if device is Device.CPU:
        # "current platform cpu does not support ray" (vllm/v1/executor/ray_utils.py, 0.32): it has no ray_device_key.
        raise EngineError(
            "vLLM starts workers through Ray on GPUs alone.",
            "Leave --distributed-backend out: its own mp does it here.",
        )
    if importlib.util.find_spec("ray") is None:
        raise EngineError("Ray is not installed.", 'Install it on every node: pip install "maritalk-vllm[ray]".')
    if ADDRESS in os.environ and not group.leads:
        raise UsageError(
            f"{ADDRESS} names a Ray cluster, which starts the workers of other nodes by itself.",
            "Start node 0 alone, or unset it on all nodes.",
        )
    check_version(installed_ray())
    if not joins_a_cluster():
        check_token({**token_of(group), **os.environ})


def installed_ray() -> str:
    """Its version."""
    return importlib.metadata.version("ray")


def check_version(version: str) -> None:
    """Raises EngineError for a Ray that is not safe to listen."""
    if Version(version).release[:2] < LEAST_RAY:
        least = ".".join(map(str, LEAST_RAY))
        raise EngineError(
            f"Ray {version} is older than {least}, and has known vulnerabilities.",
            f'Update it on every node: pip install "ray>={least}".',
        )


def token_of(group: ClusterConfig) -> dict[str, str]:
    """The variable with a token that follows from the nodes' own secret; empty where they have none."""
    return {TOKEN: hmac.digest(group.secret, b"ray", "sha256").hex()} if group.secret is not None else {}


def check_token(environment: Mapping[str, str]) -> None:
    """Raises UsageError where Ray would accept commands without a token, or reject the nodes."""
    if environment.get(MODE, "token").lower() != "token":
        raise UsageError(
            f"{MODE} is {environment[MODE]}: anyone who reaches Ray's ports can run commands here.",
            "Unset it, or set it to token, on every node.",
        )
    file = environment.get(TOKEN_FILE) or Path(environment.get("HOME", "/"), _USUAL_TOKEN_FILE)
    try:
        token = environment.get(TOKEN) or Path(file).read_text()
    except (OSError, ValueError):
        token = ""
    if len(token.strip()) < _SHORTEST_TOKEN:
        raise UsageError(
            f"Ray needs a token of at least {_SHORTEST_TOKEN} characters, the same on every node.",
            f"Give --nodes-secret-file on every node, or a token of its own in {TOKEN}.",
        )


def joins_a_cluster() -> bool:
    """Whether there is a Ray cluster already, whose nodes are none of ours."""
    return ADDRESS in os.environ


class RayNode:
    """`ray start` below the supervisor, with which it ends."""

    def __init__(
        self, group: ClusterConfig, own_address: str, gpus: int, environment: Mapping[str, str], log: Path
    ) -> None:
        """`log`: what Ray says goes there."""
        self._group = group
        self._own_address = own_address
        self._gpus = gpus
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where the cluster is."""
        host = f"[{self._group.head}]" if ":" in self._group.head else self._group.head
        return f"{host}:{self._group.port}"

    @property
    def authentication(self) -> dict[str, str]:
        """The variables of each process of the cluster: with the user's token, or else that of the nodes' secret."""
        given = {TOKEN, TOKEN_FILE} & self._environment.keys()
        return {MODE: "token", **({} if given else token_of(self._group))}

    @property
    def command(self) -> list[str]:
        """Node 0's makes the cluster, which the others join."""
        where = ["--head", "--port", str(self._group.port), "--include-dashboard", "false"]
        return [
            *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            *(where if self._group.leads else ["--address", self.address]),
            *("--node-ip-address", self._own_address, "--num-gpus", str(self._gpus)),
        ]

    async def start(self) -> None:
        """Until Ray runs here. Raises EngineError."""
        self._process = process = self._begin()
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while _STARTED not in (said := self._said()):
            if process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                last = said.strip().rpartition("\n")[2].rstrip(".")
                raise EngineError(f"Ray does not start: {last}.", f"Its log: {self._log}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")
        return ""

    def _begin(self) -> "subprocess.Popen[bytes]":
        try:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise EngineError(f"Ray's log {self._log} cannot be written: {error.strerror}.") from error
        with os.fdopen(log, "wb"):
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "maritalk_vllm.server.process.run_tied", str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.authentication, **self._environment},
                # Ctrl-C in a terminal is the supervisor's business alone.
                start_new_session=True,
            )

    async def ended(self) -> None:
        """Until Ray ends by itself. Always raises EngineError."""
        assert self._process is not None
        while self._process.poll() is None:
            await asyncio.sleep(_LOOK_SECONDS)
        raise EngineError("Ray has ended on this node.", f"Its log: {self._log}")
