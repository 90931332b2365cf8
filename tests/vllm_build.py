"""Which build of vLLM the tests run with: the CPU build of `.venv`, or, in `make test-cuda`, the CUDA build."""

import pytest

from maritalk_vllm.engine.vllm_version import installed_vllm
from maritalk_vllm.settings import Device

needs_cpu_build = pytest.mark.skipif(
    installed_vllm().device is not Device.CPU, reason="about a machine without a GPU, on which the CPU build serves"
)
