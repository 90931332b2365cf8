"""What is measured: our server, vLLM's own, the engine with no server, or any other's URL."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maritalk_vllm.engine.environment import engine_environment
from maritalk_vllm.tools.bench import prompts
from maritalk_vllm.tools.bench.api_formats import WIRES
from maritalk_vllm.tools.bench.bench_client import BenchClient
from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics
from maritalk_vllm.tools.bench.load_generator import LoadRun, closed, opened
from maritalk_vllm.tools.bench.request_result import RequestResult

from .load_order import Order
from .processes import by_title
from .subject import Subject

READY_SECONDS = 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Target(ABC):
    """Something that answers. `process` is the one that was started; all it starts descends from it."""

    name: str
    process: "subprocess.Popen[bytes]"

    @property
    def api_pid(self) -> int:
        """The process that has the clients."""
        return self.process.pid

    @abstractmethod
    async def run(self, order: Order) -> LoadRun:
        """Put one load on it."""

    async def checked(self, order: Order) -> LoadRun:
        """Put one load on it. Raises RuntimeError if a request fails."""
        run = await self.run(order)
        for outcome in run.outcomes:
            if outcome.failure:
                raise RuntimeError(f"{self.name}, {order.wire}: {outcome.failure}")
        return run

    async def figures(self, order: Order) -> LatencyMetrics:
        """Put one load on it, and what it comes to. Raises RuntimeError if a request fails."""
        return LatencyMetrics.of(await self.checked(order))

    @abstractmethod
    def wait(self) -> None:
        """Until it answers."""

    def stop(self) -> None:
        """And wait until it is gone."""
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.wait()


class HTTPTarget(Target):
    """A server on this machine. `ready` is the path that answers 200 once it can answer requests."""

    def __init__(
        self, command: list[str], flags: tuple[str, ...], ready: str, log: Path, environment: dict[str, str]
    ) -> None:
        self._ready = ready
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with log.open("wb") as out:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
            )

    def connects(self) -> bool:
        """Whether anybody listens."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def is_ready(self) -> bool:
        """Whether it says that it can answer requests."""
        try:
            with urllib.request.urlopen(self.url + self._ready, timeout=5) as reply:
                return bool(reply.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def wait(self) -> None:
        """Until it answers. Raises RuntimeError if it ends before."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start.")
            time.sleep(0.02)

    async def run(self, order: Order) -> LoadRun:
        """Put one load on it."""
        wire, make = WIRES[order.wire], getattr(prompts, order.prompt)
        async with BenchClient(self.url) as client:

            async def one(number: int) -> RequestResult:
                return await client.ask(wire, make(order.first + number), order.max_tokens)

            if order.rate is not None:
                return await opened(one, order.rate, order.requests / order.rate)
            return await closed(one, order.users, order.requests)


class Ours(HTTPTarget):
    """maritalk-serve."""

    name = "ours"

    def __init__(self, subject: Subject, folder: Path) -> None:
        command = [str(Path(sys.executable).with_name("maritalk-serve")), "--host", "127.0.0.1"]
        command += ["--model", str(subject.model), "--device", subject.device, "--cache-dir", str(folder)]
        if subject.max_model_len is not None:
            command += ["--max-model-len", str(subject.max_model_len)]
        flags = subject.flags and ("--", *subject.flags)
        super().__init__(command, flags, "/readyz", folder / "ours.log", dict(os.environ))

    @property
    def api_pid(self) -> int:
        """The process that has the clients."""
        return by_title(self.process.pid, "maritalk: serve")


class VLLM(HTTPTarget):
    """vLLM's own server with the flags that ours gives the engine, started as its users do."""

    name = "vLLM's own"

    def __init__(self, subject: Subject, folder: Path) -> None:
        launch = subject.launch(folder)
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *launch.engine_args]
        environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1"}
        if cards := launch.plan.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in cards)
        super().__init__(command, (), "/health", folder / "vllm.log", environment)


class EngineAlone(Target):
    """AsyncLLM in one process with the load, started as ours starts it."""

    name = "engine alone"

    def __init__(self, subject: Subject, folder: Path) -> None:
        launch = subject.launch(folder)
        self._folder = ExitStack()
        temporary = Path(self._folder.enter_context(TemporaryDirectory()))
        environment = engine_environment(launch.plan, temporary, folder)
        environment["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        with (folder / "alone.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.engine_alone", subject.device, *launch.engine_args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def wait(self) -> None:
        """Until it answers. Raises RuntimeError if it ends before."""
        if self._answer() != "ready":
            raise RuntimeError("The engine alone did not start.")

    async def run(self, order: Order) -> LoadRun:
        """Put one load on it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order.to_message(streamed=WIRES[order.wire].streamed)).encode() + b"\n")
        self.process.stdin.flush()
        told = self._answer()
        return LoadRun(tuple(RequestResult(**each) for each in told["outcomes"]), told["seconds"])

    def stop(self) -> None:
        """And wait until it is gone: at the end of its orders it ends its engine, which a signal would leave."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self._folder.close()

    def _answer(self) -> Any:  # noqa: ANN401
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or "null")
