"""Hidden files beside the weights of a model with tied embeddings: vLLM without our patch fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.files import model

TENSORS = {"model.embed_tokens.weight": ("BF16", [128, 64])}
READ = """
import sys
from maritalk_vllm.engine.hidden_files import ignore_hidden_files
from vllm.config import ModelConfig
from vllm.model_executor.models import registry
registry._run_in_subprocess = lambda function: function()
for _ in range(3):
    try:
        config = ModelConfig(sys.argv[1], skip_tokenizer_init=True)
        config.maybe_untie_word_embeddings()
        print(config.dtype)
    except Exception as error:
        print(type(error).__name__)
    ignore_hidden_files()
"""


@pytest.mark.nightly
@pytest.mark.engine
def test_hidden_file_beside_the_weights_is_ignored(tmp_path: Path) -> None:
    """Without the patch, with it, and with the patch applied twice."""
    config = {"tie_word_embeddings": True, "torch_dtype": None, "architectures": ["LlamaForCausalLM"]}
    folder = model(tmp_path, TENSORS, **config)
    (folder / "._model.safetensors").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(200))
    command: list[str | Path] = [sys.executable, "-c", READ, folder]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.stdout.split()[-3:] == ["MemoryError", "torch.bfloat16", "torch.bfloat16"], result.stderr[-2000:]
