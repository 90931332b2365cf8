"""The engine configuration that vLLM makes of our flags: `python -m tests.cuda.engine_config MODEL GPUS TOOLKIT ...`.

Run in the environment with vLLM's CUDA build on a host of tests/cuda/host.py, it prints as JSON what an upgrade of vLLM
may change without a word: limits of a batch, compilation, attention, whether CUDA is initialised. It starts no engine.
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from maritalk_vllm.engine import vllm_launcher
from maritalk_vllm.engine.environment import engine_environment
from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.settings import Device, Settings


def describe(config: Any) -> dict[str, object]:
    """The parts of an engine configuration that decide how a GPU is used."""
    from vllm.v1.executor.abstract import Executor

    scheduler, compilation, parallel = config.scheduler_config, config.compilation_config, config.parallel_config
    passes = {name: value for name, value in vars(compilation.pass_config).items() if value}
    return {
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "max_num_seqs": scheduler.max_num_seqs,
        "max_model_len": config.model_config.max_model_len,
        "async_scheduling": bool(scheduler.async_scheduling),
        "scheduler": str(scheduler.scheduler_cls),
        "scheduling_policy": scheduler.policy,
        "chunked_prefill": scheduler.enable_chunked_prefill,
        "prefix_caching": config.cache_config.enable_prefix_caching,
        "block_size": config.cache_config.block_size,
        "dtype": str(config.model_config.dtype),
        "model_runner": 2 if config.use_v2_model_runner else 1,
        "attention": attention_backend(config),
        "compilation": str(compilation.mode),
        "cudagraphs": str(compilation.cudagraph_mode),
        "largest_cudagraph": compilation.max_cudagraph_capture_size,
        "passes": {name: str(value) for name, value in sorted(passes.items())},
        "custom_all_reduce": not parallel.disable_custom_all_reduce,
        "executor": Executor.get_class(config).__name__,
    }


def attention_backend(config: Any) -> str:
    """The attention backend that a worker takes, or what the user's flags name."""
    from vllm.platforms import current_platform
    from vllm.v1.attention.selector import AttentionSelectorConfig

    if config.attention_config.backend is not None:
        return str(config.attention_config.backend.name)
    model = config.model_config
    selector = AttentionSelectorConfig(
        head_size=model.get_head_size(), dtype=model.dtype, kv_cache_dtype="auto", block_size=None
    )
    heads = model.get_num_attention_heads(config.parallel_config)
    valid, _ = current_platform.get_valid_backends(current_platform.get_device_capability(), selector, heads)
    return str(valid[0].backend.name)


def configure(model: str, number: int) -> None:
    """Make the configuration as the API process does, from the decision of the supervisor, and print it."""
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        settings = Settings(model=model, device=Device.CUDA, cache_dir=cache, tensor_parallel_size=number)
        launch = decide(settings)
        os.environ.update(engine_environment(launch.plan, cache, cache))
        args = vllm_launcher.parse(launch.engine_args)
        config = vllm_launcher.engine_config(args)
    # Looking at the configuration initialises CUDA.
    is_initialised = Path(os.environ["FAKE_CUDA_LOG"]).exists()
    print(json.dumps({**describe(config), "initialises_cuda": is_initialised}), flush=True)


def main(model: str, number: str, *toolkits: str) -> None:
    """Import vLLM as the fork server does, and fork once with each folder of a CUDA toolkit."""
    vllm_launcher.preload(Device.CUDA)
    for folder in toolkits:
        os.environ |= {"CUDA_HOME": folder, "PATH": f"{folder}/bin:/usr/bin:/bin"}
        process = multiprocessing.get_context("fork").Process(target=configure, args=(model, int(number)))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)
        Path(os.environ["FAKE_CUDA_LOG"]).unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
