"""All uses of vLLM's server internals, which change with every release, in one small file."""

import argparse
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import EngineError, UsageError
from ..i18n.message import msg
from ..settings import Device
from . import client_aborts, output_batching_scheduler
from .engine_address import EngineAddress
from .engine_client import client_class
from .exception_log import request_exceptions
from .exception_mapping import answer_dead_engine, to_vllm_error
from .grammar_checks import reject_unusable_grammars
from .hidden_files import ignore_hidden_files
from .inline_rendering import render_inline
from .log_redaction import redact_step_dumps
from .mig_patch import resolve_mig_instances
from .prompt_encoding import encode_directly
from .resilient_core import ResilientCore
from .shared_load import SharedLoad
from .startup_errors import describe_exit_code
from .step_watchdog import StepWatchdog
from .temperature_patch import allow_any_temperature
from .tool_arguments import constrain_tool_arguments

if TYPE_CHECKING:
    from fastapi import FastAPI
    from vllm.engine.protocol import EngineClient


def preload(device: Device) -> None:
    """Import everything that the engine's processes need, once, before they are forked."""
    if device is Device.CUDA:
        resolve_mig_instances()
    import vllm.entrypoints.launchers.api_server.app_state
    import vllm.entrypoints.launchers.app
    import vllm.entrypoints.openai.chat_completion.serving
    import vllm.v1.engine.async_llm
    import vllm.v1.engine.core
    import vllm.v1.executor.multiproc_executor

    if device is Device.CPU:
        # Not on CUDA: a worker's imports may initialise CUDA, and such a process must not be forked.
        import vllm.v1.worker.cpu_model_runner
        import vllm.v1.worker.cpu_worker  # noqa: F401
    allow_any_temperature()
    redact_step_dumps()
    ignore_hidden_files()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse flags with vLLM's own parser. Raises UsageError for invalid ones."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    def reject(message: str) -> NoReturn:
        raise UsageError(
            msg("vLLM rejects its flags: {message}.", message=message), "vLLM documents them under `vllm serve`."
        )

    parser = _make_arg_parser()(FlexibleArgumentParser(add_help=False))
    parser.error = reject
    parser.set_defaults(stream_interval=None)
    args: argparse.Namespace = parser.parse_args(list(arguments))
    # AsyncEngineArgs takes no None, and vLLM's default cannot be distinguished from an operator's 1.
    args.fixed_stream_interval = args.stream_interval
    args.stream_interval = args.stream_interval or 1
    return args


class Engine:
    """The engine's processes, one for each replica on this node."""

    def __init__(self, processes: Any, coordinator: Any, addresses: list[EngineAddress]) -> None:  # noqa: ANN401
        self.addresses = addresses
        self._processes = processes
        self._coordinator = coordinator

    def wait(self) -> str:
        """Block until a process exits, stop the others, and describe how it exited; empty if that is unknown."""
        self._processes.monitor_engine_liveness()
        # Ray's actors are not our processes.
        codes = self._processes.finished_procs().values() if hasattr(self._processes, "finished_procs") else ()
        return next(filter(None, map(describe_exit_code, codes)), "")

    def shutdown(self, timeout: float) -> None:
        """Stop all processes, and kill those that still run after `timeout` seconds."""
        self._processes.shutdown(timeout=timeout)
        if self._coordinator is not None:
            self._coordinator.shutdown(timeout=timeout)


@contextlib.contextmanager
def launch_engine(args: argparse.Namespace, addresses: int = 1, api_processes: int = 1) -> Iterator[Engine]:
    """Fork the engine's processes; at the end of the context, block until they have loaded the model.

    API processes can connect at a number of `addresses`; `api_processes` of them do so at once. Call it with no event
    loop and no other threads running.
    """
    from vllm.v1.engine.utils import EngineZmqAddresses, get_engine_zmq_bind_addresses, launch_core_engines
    from vllm.v1.executor import Executor

    config = engine_config(args, api_processes, rank=-1)
    if addresses > 1:
        client_aborts.add_to_engine_core()
    # Each endpoint is a path in the server's temporary folder: the API processes are on the engine's node.
    ends = get_engine_zmq_bind_addresses(config, addresses)
    zmq_addresses = EngineZmqAddresses(inputs=ends.inputs, outputs=ends.outputs)
    with launch_core_engines(config, Executor.get_class(config), log_stats=True, addresses=zmq_addresses) as launch:
        statistics = launch.addresses.frontend_stats_publish_address
        pairs = enumerate(zip(ends.inputs, ends.outputs, strict=True))
        found = [EngineAddress(requests, outputs, statistics, client) for client, (requests, outputs) in pairs]
        yield Engine(launch.engine_manager, launch.coordinator, found)


def connect(
    args: argparse.Namespace,
    watchdog: StepWatchdog,
    address: EngineAddress,
    load: SharedLoad | None = None,
    index: int = 0,
    api_processes: int = 1,
) -> "EngineClient":
    """Return the client of the engine at `address`; block until it has loaded the model.

    `load`: that of all `api_processes`, of which this one is number `index`; None if it is alone.
    """
    from vllm.usage.usage_lib import UsageContext

    config = engine_config(args, api_processes, rank=index)
    if args.scheduler_cls is None:
        output_batching_scheduler.patch_inter_token_latency()
    client = client_class().from_vllm_config(
        config,
        usage_context=UsageContext.OPENAI_API_SERVER,
        disable_log_stats=False,
        stat_loggers=[watchdog.logger],
        client_addresses=_client_addresses(address),
        client_count=api_processes,
        client_index=address.client,
    )
    client.share_load(load)
    client.stream_interval = args.fixed_stream_interval
    client.engine_core = ResilientCore(client.engine_core, client.output_processor, to_vllm_error)
    return client


def link(client: "EngineClient") -> ResilientCore:
    """The link of a client to its engine."""
    core: ResilientCore = client.engine_core
    return core


def connect_again(client: "EngineClient", address: EngineAddress) -> Any:  # noqa: ANN401
    """Return the link's end to the next engine, which has loaded the model. May be called in a thread."""
    from vllm.v1.engine.core_client import EngineCoreClient
    from vllm.v1.executor import Executor

    config = client.vllm_config
    # vLLM adds up the blocks of all replicas that report them.
    config.cache_config.num_gpu_blocks = None
    return EngineCoreClient.make_async_mp_client(
        config,
        Executor.get_class(config),
        log_stats=True,
        client_addresses=_client_addresses(address),
        client_count=config.parallel_config._api_process_count,
        client_index=address.client,
    )


async def abort_client(client: "EngineClient", number: int) -> None:
    """Abort in the engine all requests of another client, which is gone: of the one at the address `number`."""
    with contextlib.suppress(Exception):  # the engine dies, and its requests with it
        await link(client).call_utility_async(client_aborts.METHOD, number)


def _client_addresses(address: EngineAddress) -> dict[str, str | None]:
    """The endpoints as vLLM's client takes them."""
    return {
        "input_address": address.input,
        "output_address": address.output,
        "stats_update_address": address.statistics,
    }


def engine_config(args: argparse.Namespace, api_processes: int = 1, rank: int = 0) -> Any:  # noqa: ANN401
    """vLLM's configuration, the same in the engine's process and in the API processes but for `rank`: -1 in the engine.

    vLLM shares no cache of images between the engine and several API processes.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    method = os.environ.get("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    # vLLM's default batch size depends on the usage context: a server's is larger than a library's.
    arguments = AsyncEngineArgs.from_cli_args(args)
    if api_processes > 1:
        arguments._api_process_count, arguments._api_process_rank = api_processes, rank
    config = arguments.create_engine_config(UsageContext.OPENAI_API_SERVER)
    # Creating the config on a CPU sets spawn, which would make every process import torch and vllm again.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = method
    parallel = config.parallel_config
    if args.distributed_executor_backend is None and parallel.world_size == 1:
        # On a CPU, vLLM also runs a single worker in its own process, to start it with OpenMP's environment. Our first
        # process has that environment already, and two processes would exchange messages and busy-wait at each step.
        parallel.distributed_executor_backend = "uni"
    scheduling = config.scheduler_config
    if scheduling.scheduler_cls is None:
        asynchronous = bool(scheduling.async_scheduling)
        scheduling.scheduler_cls = output_batching_scheduler.qualified_name(asynchronous=asynchronous)
    return config


class Workers:
    """The workers of a follower node, which the leader's engine controls."""

    def __init__(self, executor: Any) -> None:  # noqa: ANN401
        self._executor = executor

    def wait(self) -> None:
        """Block until a worker exits."""
        self._executor.start_worker_monitor(inline=True)

    def shutdown(self) -> None:
        """Stop the workers."""
        self._executor.shutdown()


def start_workers(args: argparse.Namespace) -> Workers:
    """Load this node's part of a model, as `vllm serve --headless` does, and block until its workers are ready.

    Workers try to connect to node 0 until vLLM's own timeouts expire.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.executor.multiproc_executor import MultiprocExecutor

    method = os.environ.get("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    engine = AsyncEngineArgs.from_cli_args(args)
    config = engine.create_engine_config(UsageContext.OPENAI_API_SERVER, headless=True)
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = method  # as in engine_config
    return Workers(MultiprocExecutor(config, monitor_workers=False))


async def build_app(client: "EngineClient", args: argparse.Namespace) -> "FastAPI":
    """Build vLLM's application with all its routes. Raises EngineError if the model does not generate text."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app

    tasks = await client.get_supported_tasks()
    if "generate" not in tasks:
        raise EngineError(
            msg("{model} generates no text: vLLM offers {tasks} for it.", model=args.model, tasks=", ".join(tasks))
        )
    for target in (*logging.getLogger("vllm").handlers, logging.getLogger("uvicorn.error")):
        target.addFilter(request_exceptions)
    # The first request with logprobs would search the vocabulary, which blocks the event loop for half a second.
    threading.Thread(target=_find_space_marker, args=(client,), daemon=True).start()
    constrain_tool_arguments()
    reject_unusable_grammars()
    encode_directly(client)
    if not args.trust_request_chat_template:  # a client's template may take any time, which vLLM limits in its threads
        render_inline(client)
    app: FastAPI = build_app(args, tasks, client.model_config)
    await init_app_state(client, app.state, args, tasks)
    answer_dead_engine(app)
    return app


def cache_environment() -> None:
    """Have vLLM keep the values of its environment variables, which it would read several times for each request.

    A later change has no effect. vLLM does the same in the engine's processes.
    """
    from vllm.envs import enable_envs_cache

    enable_envs_cache()


def kv_cache_tokens(client: "EngineClient") -> int | None:
    """The KV cache that each replica has, in tokens, as vLLM measured it when it loaded; None if it does not say."""
    tokens: int | None = client.vllm_config.cache_config.kv_cache_size_tokens
    return tokens


def _find_space_marker(client: "EngineClient") -> None:
    from vllm.tokenizers.detokenizer_utils import get_leading_space_marker

    if client.renderer.tokenizer is not None:
        get_leading_space_marker(client.renderer.tokenizer)


def _make_arg_parser() -> Callable[..., Any]:
    try:
        from vllm.entrypoints.launchers import cli_args  # 0.32
    except ImportError:
        from vllm.entrypoints.common import cli_args  # 0.33
    make: Callable[..., Any] = cli_args.make_arg_parser
    return make
