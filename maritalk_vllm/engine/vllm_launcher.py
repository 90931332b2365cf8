"""All uses of vLLM's server internals, which change with every release, in one small file."""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import EngineError, UsageError
from ..i18n.message import msg
from ..settings import Device
from . import output_batching_scheduler
from .engine_client import client_class
from .exception_log import request_exceptions
from .exception_mapping import answer_dead_engine
from .grammar_checks import reject_unusable_grammars
from .hidden_files import ignore_hidden_files
from .log_redaction import redact_step_dumps
from .mig_patch import resolve_mig_instances
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
    args: argparse.Namespace = parser.parse_args(list(arguments))
    return args


def start_engine(args: argparse.Namespace, watchdog: StepWatchdog) -> "EngineClient":
    """Load the model and block until the engine is ready. Call it with no event loop and no other threads running."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    method = os.environ.get("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    # vLLM's default batch size depends on the usage context: a server's is larger than a library's.
    usage = UsageContext.OPENAI_API_SERVER
    config = AsyncEngineArgs.from_cli_args(args).create_engine_config(usage)
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
        output_batching_scheduler.patch_inter_token_latency()
    loggers = [watchdog.logger]
    return client_class().from_vllm_config(config, usage_context=usage, disable_log_stats=False, stat_loggers=loggers)


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
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = method  # as in start_engine
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
    app: FastAPI = build_app(args, tasks, client.model_config)
    await init_app_state(client, app.state, args, tasks)
    answer_dead_engine(app)
    return app


def _find_space_marker(client: "EngineClient") -> None:
    from vllm.tokenizers.detokenizer_utils import get_leading_space_marker

    if client.renderer.tokenizer is not None:
        get_leading_space_marker(client.renderer.tokenizer)


def is_dead(client: "EngineClient") -> bool:
    """Whether the engine process has died."""
    return bool(client.errored and not client.is_running)


def describe_engine_exit(client: "EngineClient") -> str:
    """Describe how the engine process exited; empty if it has not."""
    resources = getattr(getattr(client, "engine_core", None), "resources", None)
    manager: Any = getattr(resources, "engine_manager", None)
    # Ray's actors are not our processes. SIGTERM comes from vLLM, which stops the remaining processes after one died.
    codes = manager.finished_procs().values() if hasattr(manager, "finished_procs") else ()
    code = next((code for code in codes if code not in (0, -signal.SIGTERM)), 0)
    if code < 0:
        return msg("the engine's process was killed by {signal}", signal=signal.Signals(-code).name)
    return msg("the engine's process ended with {number}", number=code) if code else ""


def _make_arg_parser() -> Callable[..., Any]:
    try:
        from vllm.entrypoints.launchers import cli_args  # 0.32
    except ImportError:
        from vllm.entrypoints.common import cli_args  # 0.33
    make: Callable[..., Any] = cli_args.make_arg_parser
    return make
