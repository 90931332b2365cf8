"""Write small real checkpoints of several architectures, with random weights, as transformers saves them.

Run it as a separate process, since it imports torch: `python -m tests.models.checkpoints FOLDER`. With a second folder,
which holds a tokenizer, it writes a single model that can be served, with that tokenizer.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALL = {"hidden_size": 256, "num_hidden_layers": 4, "vocab_size": 1000, "max_position_embeddings": 2048}
HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2}

CONFIGS: dict[str, dict[str, Any]] = {
    # Grouped-query attention, an untied head, a vocabulary that vLLM has to pad.
    "llama": {"model_type": "llama", **SMALL, **HEADS, "intermediate_size": 512, "tie_word_embeddings": False},
    # Tied embeddings, biases.
    "qwen2": {"model_type": "qwen2", **SMALL, **HEADS, "intermediate_size": 512, "tie_word_embeddings": True},
    # Experts.
    "mixtral": {"model_type": "mixtral", **SMALL, **HEADS, "intermediate_size": 384, "num_local_experts": 4},
    # Sliding-window layers, and heads wider than hidden_size / heads.
    "gemma2": {
        "model_type": "gemma2",
        **SMALL,
        **HEADS,
        "intermediate_size": 512,
        "head_dim": 64,
        "sliding_window": 128,
    },
    # Multi-head latent attention.
    "deepseek": {
        "model_type": "deepseek_v2",
        **SMALL,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "intermediate_size": 512,
        "moe_intermediate_size": 128,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "kv_lora_rank": 64,
        "q_lora_rank": 96,
        "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 32,
        "v_head_dim": 32,
        "n_group": 1,
        "topk_group": 1,
    },
    # Other names for the same things, and fused matrices.
    "gpt2": {"model_type": "gpt2", "n_embd": 256, "n_layer": 4, "n_head": 8, "vocab_size": 1000, "n_positions": 512},
}


SERVED = {
    "model_type": "llama",
    **SMALL,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
}


def write_served(target: Path, tokenizer: Path) -> None:
    """Write a small model that can chat and be split over two workers, with the tokenizer of another folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    read = AutoTokenizer.from_pretrained(tokenizer)
    config = AutoConfig.for_model(**{**SERVED, "vocab_size": len(read)}, dtype="bfloat16")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(target)
    read.save_pretrained(target)


def write_all(target: Path) -> None:
    """Write a folder for each of CONFIGS, `sharded`: llama in several files, and sizes.json with the exact sizes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {}
    for name, values in CONFIGS.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(**values, dtype="bfloat16")
        model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
        model.save_pretrained(target / name)
        sizes[name] = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        if name == "llama":
            model.save_pretrained(target / "sharded", max_shard_size="500KB")
    (target / "sizes.json").write_text(json.dumps(sizes))


def make_served(target: Path, tokenizer: Path) -> Path:
    """Call `write_served` in a process of its own, and return `target`."""
    command: list[str | Path] = [sys.executable, "-m", "tests.models.checkpoints", target, tokenizer]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return target


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:]]
    write_all(*folders) if len(folders) == 1 else write_served(*folders)
