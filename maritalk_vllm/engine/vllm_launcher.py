"""The one small file that touches vLLM's server internals, which move at every release."""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import EngineError, UsageError
from ..settings import Device
from . import output_batching_scheduler
from .exception_log import faults
from .exception_mapping import answer_dead_engine
from .grammar_checks import refuse_unusable_grammars
from .hidden_files import overlook_hidden_files
from .log_redaction import keep_texts_out
from .step_watchdog import StepWatchdog
from .temperature_patch import allow_any_temperature
from .tool_arguments import constrain_tool_arguments

if TYPE_CHECKING:
    from fastapi import FastAPI
    from vllm.engine.protocol import EngineClient


def preload(device: Device) -> None:
    """Import all that the engine's processes need, so that what is forked from this one need not."""
    import vllm.entrypoints.launchers.api_server.app_state
    import vllm.entrypoints.launchers.app
    import vllm.entrypoints.openai.chat_completion.serving
    import vllm.v1.engine.async_llm
    import vllm.v1.engine.core
    import vllm.v1.executor.multiproc_executor

    if device is Device.CPU:
        # Not on CUDA: a worker's imports may initialise it, and a process that has must not be forked.
        import vllm.v1.worker.cpu_model_runner
        import vllm.v1.worker.cpu_worker  # noqa: F401
    allow_any_temperature()
    keep_texts_out()
    overlook_hidden_files()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """vLLM's own reading of its flags. Raises UsageError for one it does not know."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"vLLM refuses its flags: {message}.", "vLLM documents them under `vllm serve`.")

    parser = _make_arg_parser()(FlexibleArgumentParser(add_help=False))
    parser.error = refuse
    args: argparse.Namespace = parser.parse_args(list(arguments))
    return args


def start_engine(args: argparse.Namespace, pulse: StepWatchdog) -> "EngineClient":
    """Load the model: blocks until the engine is ready, and has to be called where no loop and no thread is at work."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    method = os.environ.get("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    # vLLM sizes a batch by who asks: a server's is larger than a library's.
    usage = UsageContext.OPENAI_API_SERVER
    config = AsyncEngineArgs.from_cli_args(args).create_engine_config(usage)
    # The CPU platform sets spawn while the config is made: every process would import torch and vllm again.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = method
    parallel = config.parallel_config
    if args.distributed_executor_backend is None and parallel.world_size == 1:
        # And it gives even a single worker a process of its own, to start it with OpenMP's environment, which ours has
        # from the first process on. Engine and worker would tell each other of each step, and wait for it busily.
        parallel.distributed_executor_backend = "uni"
    scheduling = config.scheduler_config
    if scheduling.scheduler_cls is None:
        scheduling.scheduler_cls = output_batching_scheduler.name_for(asynchronous=bool(scheduling.async_scheduling))
        output_batching_scheduler.spread_latency()
    return AsyncLLM.from_vllm_config(config, usage_context=usage, disable_log_stats=False, stat_loggers=[pulse.logger])


class Workers:
    """The workers of a node that has no engine of its own: they do what node 0's engine says."""

    def __init__(self, executor: Any) -> None:  # noqa: ANN401
        self._executor = executor

    def wait(self) -> None:
        """Until a worker ends."""
        self._executor.start_worker_monitor(inline=True)

    def shutdown(self) -> None:
        """End the workers."""
        self._executor.shutdown()


def start_workers(args: argparse.Namespace) -> Workers:
    """Load this node's part of a model, as `vllm serve --headless` does: blocks until its workers have it.

    They look for node 0 for as long as vLLM's own time-outs allow.
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
    """vLLM's own application, with all its routes, on this engine."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app

    tasks = await client.get_supported_tasks()
    if "generate" not in tasks:
        raise EngineError(f"{args.model} generates no text: vLLM offers {', '.join(tasks)} for it.")
    for where in (*logging.getLogger("vllm").handlers, logging.getLogger("uvicorn.error")):
        where.addFilter(faults)
    # The first logprobs look through the vocabulary for it, half a second in which nothing else is answered.
    threading.Thread(target=_find_space_marker, args=(client,), daemon=True).start()
    constrain_tool_arguments()
    refuse_unusable_grammars()
    app: FastAPI = build_app(args, tasks, client.model_config)
    await init_app_state(client, app.state, args, tasks)
    answer_dead_engine(app)
    return app


def _find_space_marker(client: "EngineClient") -> None:
    from vllm.tokenizers.detokenizer_utils import get_leading_space_marker

    if client.renderer.tokenizer is not None:
        get_leading_space_marker(client.renderer.tokenizer)


def is_dead(client: "EngineClient") -> bool:
    """Whether the engine's process has died."""
    return bool(client.errored and not client.is_running)


def ending(client: "EngineClient") -> str:
    """How the engine's process has ended; an empty text if it has not."""
    resources = getattr(getattr(client, "engine_core", None), "resources", None)
    manager: Any = getattr(resources, "engine_manager", None)
    # Ray's actors are no processes of ours. SIGTERM comes from vLLM itself, which ends what another's death has left.
    codes = manager.finished_procs().values() if hasattr(manager, "finished_procs") else ()
    code = next((code for code in codes if code not in (0, -signal.SIGTERM)), 0)
    if code < 0:
        return f"the engine's process was killed by {signal.Signals(-code).name}"
    return f"the engine's process ended with {code}" if code else ""


def _make_arg_parser() -> Callable[..., Any]:
    try:
        from vllm.entrypoints.launchers import cli_args  # 0.32
    except ImportError:
        from vllm.entrypoints.common import cli_args  # 0.33
    make: Callable[..., Any] = cli_args.make_arg_parser
    return make
