"""The attention backend where vLLM would choose FlashInfer's, which has to be compiled."""

from dataclasses import replace

import pytest

from maritalk_vllm.engine.attention_backend import attention_backend
from maritalk_vllm.hardware.gpu import Gpu
from maritalk_vllm.models.memory_footprint import MemoryFootprint
from tests.hardware.test_cuda_host import BARE, COMPLETE
from tests.planning.machines import LLAMA_8B


def gpu(*capability: int) -> Gpu:
    return Gpu(0, "GPU-0", "a GPU", 180 << 30, 180 << 30, (capability[0], capability[1]))


B200 = gpu(10, 0)
DENSE = MemoryFootprint(shape=LLAMA_8B, split_bytes=16 << 30, exact=True)
LATENT = replace(DENSE, shape=replace(LLAMA_8B, latent_size=576))


def test_a_b200_without_a_toolkit_gets_flash_attention() -> None:
    for each in (B200, gpu(10, 3)):
        assert attention_backend([each], BARE, DENSE, []) == "FLASH_ATTN"
    assert attention_backend([B200], BARE, None, []) == "FLASH_ATTN"


def test_vllm_chooses_where_flashinfer_can_run_or_is_not_preferred() -> None:
    assert attention_backend([B200], COMPLETE, DENSE, []) is None
    assert attention_backend([B200], replace(BARE, has_flashinfer_kernels=True), DENSE, []) is None
    for each in (gpu(8, 0), gpu(9, 0), gpu(12, 0)):
        assert attention_backend([each], BARE, DENSE, []) is None
    assert attention_backend([], BARE, DENSE, []) is None


@pytest.mark.parametrize(
    "flags",
    [
        ["--attention-backend", "TRITON_ATTN"],
        ["--attention_backend=TRITON_ATTN"],
        ["--attention-config", '{"backend": "TRITON_ATTN"}'],
        ["--attention-config.backend=TRITON_ATTN"],
        ["-ac.backend", "TRITON_ATTN"],
        ["--config", "own.yaml"],
    ],
)
def test_the_users_choice_wins(flags: list[str]) -> None:
    assert attention_backend([B200], BARE, DENSE, flags) is None


def test_multi_head_latent_attention_is_left_to_vllm() -> None:
    assert attention_backend([B200], BARE, LATENT, []) is None
