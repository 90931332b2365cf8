"""Measure what vLLM's CPU backend allocates for models: `python -m tests.models.allocated DTYPE FOLDER...`.

Prints one line of JSON per model. The weights are counted right after the loader fills them, before the CPU backend
repacks them.
"""

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from vllm.config import LoadConfig, ModelConfig

CACHE_BYTES = 64 << 20


def main(dtype: str, *folders: str) -> None:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory
    from vllm.model_executor.model_loader import register_model_loader
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader

    weights: dict[int, int] = {}

    @register_model_loader("counting")
    class CountingLoader(DefaultModelLoader):  # type: ignore[misc]
        def __init__(self, load_config: "LoadConfig") -> None:
            load_config.load_format = "auto"
            super().__init__(load_config)

        def load_weights(self, model: "torch.nn.Module", model_config: "ModelConfig") -> None:
            super().load_weights(model, model_config)
            weights.update((each.data_ptr(), each.numel() * each.element_size()) for each in model.parameters())

    for folder in folders:
        weights.clear()
        llm = LLM(
            folder,
            dtype=dtype,
            load_format="counting",
            skip_tokenizer_init=True,
            enforce_eager=True,
            kv_cache_memory_bytes=CACHE_BYTES,
            max_model_len=512,
        )
        runner = llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker.model_runner
        caches = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in runner.kv_caches}
        spec = runner.kv_cache_config.kv_cache_groups[0].kv_cache_spec
        found = {
            "weights_bytes": sum(weights.values()),
            "kv_cache_bytes": sum(caches.values()),
            "kv_cache_tokens": runner.kv_cache_config.num_blocks * spec.block_size,
        }
        print(json.dumps(found), flush=True)
        del llm, runner
        cleanup_dist_env_and_memory()


if __name__ == "__main__":
    main(*sys.argv[1:])
