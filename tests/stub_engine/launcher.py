"""Replaces the functions of maritalk_vllm.engine.vllm_launcher that the server calls, without vLLM."""

import contextlib
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence

from fastapi import FastAPI
from prometheus_client import Gauge, make_asgi_app
from starlette.datastructures import State
from starlette.routing import Mount

from maritalk_vllm.api.model_aliases import ModelNames
from maritalk_vllm.api.vllm_plugin import MariTalkPlugin
from maritalk_vllm.engine.engine_address import EngineAddress
from maritalk_vllm.engine.resilient_core import ResilientCore
from maritalk_vllm.engine.shared_load import SharedLoad
from maritalk_vllm.engine.step_watchdog import StepWatchdog
from maritalk_vllm.settings import Device, TimeUnit
from tests.stub_engine.engine import Client, Core, Engine, StubGenerator, Workers
from tests.stub_engine.script import reach, record_flags

RUNNING = "stub_requests_running"
"""A metric of the stub: number of running requests."""


def preload(device: Device) -> None:
    reach("importing")


def parse(arguments: Sequence[str]) -> Namespace:
    reach("parsing")
    record_flags(arguments)
    return Namespace(middleware=[], root_path=None, enable_request_id_headers=False)


@contextlib.contextmanager
def launch_engine(args: Namespace, addresses: int, api_processes: int) -> Iterator[Engine]:
    engine = Engine(addresses)
    yield engine
    engine.load()


def start_workers(args: Namespace) -> Workers:
    reach("loading")
    return Workers()


def connect(
    args: Namespace,
    watchdog: StepWatchdog,
    address: EngineAddress,
    load: SharedLoad | None,
    index: int,
    api_processes: int,
) -> Client:
    client = Client(watchdog, address)
    client.share_load(load)
    return client


async def abort_client(client: Client, number: int) -> None:
    client.engine_core.abort_client(number)


async def build_app(client: Client, args: Namespace) -> FastAPI:
    client.output_processor.running = Gauge(RUNNING, "Requests that the stub works on.", multiprocess_mode="livesum")
    app = FastAPI()
    metrics = Mount("/metrics", make_asgi_app())
    metrics.path_regex = re.compile("^/metrics(?P<path>.*)$")  # as in vLLM: no redirect to /metrics/
    app.routes.append(metrics)
    return app


def cache_environment() -> None:
    """The stub reads none of vLLM's variables."""


def kv_cache_tokens(client: Client) -> int:
    return 1_000_000


def link(client: Client) -> ResilientCore:
    return client.engine_core


def connect_again(client: Client, address: EngineAddress) -> Core:
    return Core(address)


class StubPlugin(MariTalkPlugin):
    """Our real routes with the stub generator."""

    def __init__(self, time_unit: TimeUnit | None = None) -> None:
        super().__init__(time_unit)
        self._unit = time_unit

    async def init_state(self, engine_client: object, state: State, args: Namespace) -> None:
        state.maritalk_generator = StubGenerator(engine_client)
        state.maritalk_names = ModelNames(["stub"])
        state.maritalk_time_unit = self._unit
