"""vLLM on an instance of a GPU in MIG mode: it asks the driver about that GPU."""

import json
from collections.abc import Callable

import pytest

from tests.cuda.host import Host
from tests.hardware.fleet import MIG_UUIDS, MiB

pytestmark = pytest.mark.cuda

_ASK = """
import json
from maritalk_vllm.engine.mig_patch import resolve_mig_instances
resolve_mig_instances()
from vllm.platforms import current_platform as gpu
print(json.dumps([gpu.get_device_name(), gpu.get_device_capability().major, gpu.get_device_total_memory()]))
"""


@pytest.mark.parametrize("uuid", MIG_UUIDS[:2])
def test_vllm_asks_about_the_gpu_of_an_instance(uuid: str, host: Callable[[str], Host]) -> None:
    """Unpatched, vLLM takes the first instance for the host's first GPU, and the second for one that does not exist."""
    asked = host("MIG").run("python", "-c", _ASK, CUDA_VISIBLE_DEVICES=uuid)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout.splitlines()[-1]) == ["NVIDIA A100-SXM4-40GB", 8, 40960 * MiB]
