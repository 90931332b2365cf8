"""Targets of a load: our server, vLLM's own server, and the engine with no server."""

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
from maritalk_vllm.tools.bench.api_formats import API_FORMATS
from maritalk_vllm.tools.bench.bench_client import BenchClient
from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics
from maritalk_vllm.tools.bench.load_generator import LoadRun, run_closed_loop, run_open_loop
from maritalk_vllm.tools.bench.request_result import RequestResult

from .load_order import LoadSpec
from .processes import by_title
from .subject import Subject

READY_SECONDS = 600
_ROOT = Path(__file__).parent.parent
"""PYTHONPATH of a server for the worker that computes nothing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Target(ABC):
    """A system that answers requests. `process` is the root of its process tree."""

    name: str
    process: "subprocess.Popen[bytes]"

    @property
    def api_pid(self) -> int:
        """The process that serves the clients."""
        return self.process.pid

    @abstractmethod
    async def run(self, load_spec: LoadSpec) -> LoadRun:
        """Run one load."""

    async def checked(self, load_spec: LoadSpec) -> LoadRun:
        """Run one load. Raises RuntimeError if a request fails."""
        run = await self.run(load_spec)
        for result in run.results:
            if result.failure:
                raise RuntimeError(f"{self.name}, {load_spec.wire}: {result.failure}")
        return run

    async def metrics(self, load_spec: LoadSpec) -> LatencyMetrics:
        """Run one load and return its metrics. Raises RuntimeError if a request fails."""
        return LatencyMetrics.of(await self.checked(load_spec))

    @abstractmethod
    def wait(self) -> None:
        """Wait until the target answers requests."""

    def stop(self) -> None:
        """Terminate the process, kill it after 60 s, and wait for its exit."""
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
        path = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        with log.open("wb") as out:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *flags],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**environment, "PYTHONPATH": os.pathsep.join(path)},
            )

    def connects(self) -> bool:
        """Whether the port accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def is_ready(self) -> bool:
        """Whether the readiness path answers 200."""
        try:
            with urllib.request.urlopen(self.url + self._ready, timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    def wait(self) -> None:
        """Wait until the server is ready. Raises RuntimeError if it exits first, or after `READY_SECONDS`."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start.")
            time.sleep(0.02)

    async def run(self, load_spec: LoadSpec) -> LoadRun:
        """Run one load over HTTP."""
        api_format, make_prompt = API_FORMATS[load_spec.wire], getattr(prompts, load_spec.prompt)
        async with BenchClient(self.url) as client:

            async def send(number: int) -> RequestResult:
                key = load_spec.keys[number % len(load_spec.keys)] if load_spec.keys else None
                prompt = make_prompt(load_spec.first + number)
                return await client.ask(api_format, prompt, load_spec.max_tokens, key=key)

            if load_spec.rate is not None:
                return await run_open_loop(send, load_spec.rate, load_spec.requests / load_spec.rate)
            return await run_closed_loop(send, load_spec.users, load_spec.requests)


class Ours(HTTPTarget):
    """maritalk-serve."""

    name = "ours"

    def __init__(self, subject: Subject, folder: Path) -> None:
        command = [str(Path(sys.executable).with_name("maritalk-serve")), "--host", "127.0.0.1"]
        command += ["--model", str(subject.model), "--device", subject.device, "--cache-dir", str(folder)]
        command += ["--data-dir", str(folder / "data"), *subject.options]
        if subject.max_model_len is not None:
            command += ["--max-model-len", str(subject.max_model_len)]
        flags = subject.flags and ("--", *subject.flags)
        super().__init__(command, flags, "/readyz", folder / "ours.log", dict(os.environ))

    @property
    def api_pid(self) -> int:
        """The process that serves the clients."""
        return by_title(self.process.pid, "maritalk: serve")


class VLLM(HTTPTarget):
    """vLLM's own server with the flags that ours gives the engine, started as users start it, and our plugin."""

    name = "vLLM's own"
    more_flags: tuple[str, ...] = ()

    def __init__(self, subject: Subject, folder: Path) -> None:
        launch = subject.launch(folder)
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *launch.engine_args, *self.more_flags]
        environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "VLLM_PLUGINS": "maritalk"}
        if gpus := launch.plan.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in gpus)
        super().__init__(command, (), "/health", folder / f"{self.name}.log", environment)


class VLLMInterval(VLLM):
    """The same with four tokens an event, which saves most of the work for a stream."""

    name = "vLLM's own, --stream-interval 4"
    more_flags = ("--stream-interval", "4")


class EngineProcess:
    """vLLM's engine without a server, in a process that runs `module` and exchanges lines of JSON by its pipes.

    It is started with the same arguments as our server's engine.
    """

    name: str
    module: str

    def __init__(self, subject: Subject, folder: Path) -> None:
        launch = subject.launch(folder)
        self._folder = ExitStack()
        temporary = Path(self._folder.enter_context(TemporaryDirectory()))
        environment = engine_environment(launch.plan, temporary, folder)
        environment["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        with (folder / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, subject.device, *launch.engine_args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def wait(self) -> None:
        """Wait until the engine has loaded. Raises RuntimeError if it exits first."""
        if self._read_message() != "ready":
            raise RuntimeError(f"{self.name} did not start.")

    def exchange(self, message: object) -> Any:  # noqa: ANN401
        """Send a message, and return the reply to it: None if the process has exited."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        return self._read_message()

    def stop(self) -> None:
        """Close stdin, on which the process shuts its engine down; a signal would leave the engine running."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self._folder.close()

    def _read_message(self) -> Any:  # noqa: ANN401
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or "null")


class EngineAlone(EngineProcess, Target):
    """AsyncLLM in the load generator's process."""

    name = "engine alone"
    module = "benchmarks.engine_alone"

    async def run(self, load_spec: LoadSpec) -> LoadRun:
        """Send one load to the process and read its results."""
        answer = self.exchange(load_spec.to_message(streamed=API_FORMATS[load_spec.wire].streamed))
        return LoadRun(tuple(RequestResult(**each) for each in answer["outcomes"]), answer["seconds"])


class RunBatch(EngineProcess):
    """`vllm run-batch`, with an engine that stays loaded from one file to the next."""

    name = "vllm run-batch"
    module = "benchmarks.run_batch"

    def run(self, requests: Path, results: Path) -> float:
        """Process a file of requests; returns the seconds. Raises RuntimeError if the process has exited."""
        seconds = self.exchange([str(requests), str(results)])
        if seconds is None:
            raise RuntimeError(f"{self.name} has exited.")
        return float(seconds)
