"""Llama models of any size with random weights: the time and memory are real, the text is meaningless."""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maritalk_vllm.models.atomic_install import install_atomically

if TYPE_CHECKING:
    import torch

_VOCABULARY = 49152
"""Vocabulary size of the demo model's tokenizer, which these models share."""

_ENDS = (0, 2)
"""Tokens that end an answer. Their logits are 0, below the maximum of so many: no greedy answer ends early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model's dimensions as in config.json, and its number of weights files; with 0, vLLM uses dummy weights."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    shards: int = 1

    @property
    def head_size(self) -> int:
        """Dimension of each attention head."""
        return self.hidden_size // self.heads

    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": _VOCABULARY,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "bos_token_id": 1,
            "eos_token_id": 2,
        }


ONE_LAYER = Size(hidden_size=64, intermediate_size=128, layers=1, heads=1, key_value_heads=1)
"""Costs almost nothing to compute, so that the server is the bottleneck."""

SHARDED = Size(hidden_size=4096, intermediate_size=11008, layers=12, heads=32, key_value_heads=8, shards=6)
"""4.7 GB, large enough that the processes' other memory matters little."""


SMALL = Size(hidden_size=4096, intermediate_size=14336, layers=45, heads=32, key_value_heads=8, shards=0)
"""20.0 GB, the memory that the client `maritalk` 0.2.5 requires for MariTalk Small."""

MEDIUM = Size(hidden_size=6144, intermediate_size=22016, layers=70, heads=48, key_value_heads=8, shards=0)
"""69.7 GB, the memory that it requires for MariTalk Medium."""


def checkpoint(size: Size, tokenizer: Path, folder: Path) -> Path:
    """Create the checkpoint in `folder` unless it exists, with the tokenizer of the demo model's folder `tokenizer`."""

    def make(temporary: Path) -> None:
        temporary.mkdir()
        for file in tokenizer.iterdir():
            if not file.name.startswith(("model", "config.json", "generation_config")):
                shutil.copy(file, temporary)
        (temporary / "config.json").write_text(json.dumps(size.config(), indent=1))
        if size.shards:
            _save_weights(size, temporary)

    install_atomically(folder, make, "The model of random weights")
    return folder


def _save_weights(size: Size, folder: Path) -> None:
    from safetensors.torch import save_file

    parts = [size.layers * number // size.shards for number in range(size.shards + 1)]
    weight_map: dict[str, str] = {}
    for number, (first, last) in enumerate(itertools.pairwise(parts)):
        name = "model.safetensors" if size.shards == 1 else f"model-{number + 1:05}-of-{size.shards:05}.safetensors"
        tensors = dict(_tensors(size, range(first, last), with_embedding=number == 0))
        weight_map |= dict.fromkeys(tensors, name)
        save_file(tensors, folder / name, metadata={"format": "pt"})
    if size.shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _tensors(size: Size, layers: range, *, with_embedding: bool) -> Iterator[tuple[str, "torch.Tensor"]]:
    import torch

    random = torch.Generator().manual_seed(layers.start)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        weights = torch.empty(rows, columns, dtype=torch.bfloat16)
        return weights.normal_(0, columns**-0.5, generator=random)

    def norm() -> torch.Tensor:
        return torch.ones(size.hidden_size, dtype=torch.bfloat16)

    hidden, key_values = size.hidden_size, size.key_value_heads * size.head_size
    for number in layers:
        layer = f"model.layers.{number}"
        for name, rows in (("q", hidden), ("k", key_values), ("v", key_values), ("o", hidden)):
            yield f"{layer}.self_attn.{name}_proj.weight", matrix(rows, hidden)
        for name in ("gate", "up"):
            yield f"{layer}.mlp.{name}_proj.weight", matrix(size.intermediate_size, hidden)
        yield f"{layer}.mlp.down_proj.weight", matrix(hidden, size.intermediate_size)
        yield f"{layer}.input_layernorm.weight", norm()
        yield f"{layer}.post_attention_layernorm.weight", norm()
    if with_embedding:
        embedding = matrix(_VOCABULARY, hidden)
        embedding[list(_ENDS)] = 0
        yield "model.embed_tokens.weight", embedding
        yield "model.norm.weight", norm()
