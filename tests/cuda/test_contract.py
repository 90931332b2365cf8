"""The contract with vLLM, tests/engine/test_contract.py, with the CUDA build, which may be of another version."""

from collections.abc import Callable

import pytest

from tests.cuda.host import Host
from tests.documents.pages import ROOT

pytestmark = pytest.mark.cuda


def test_vllm_internals_of_the_cuda_build(host: Callable[[str], Host]) -> None:
    contract = (
        "-m",
        "unit or engine",
        ROOT / "tests/engine/test_contract.py",
        ROOT / "tests/engine/test_vllm_names.py",
    )
    tested = host("A100").run("python", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *contract)
    assert tested.returncode == 0, tested.stdout
