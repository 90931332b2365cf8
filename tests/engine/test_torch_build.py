"""The CUDA version of the installed torch build."""

import subprocess
import sys

import pytest

from maritalk_vllm.engine.torch_build import TorchBuild, installed_torch, parse_version_file

_FILE = """\
from typing import Optional

__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'rocm', 'xpu']
__version__ = '{version}'
debug = False
cuda: Optional[str] = {cuda}
git_version = 'cf30153c4c131c8164ee7798e5022d810682e2cb'
hip: Optional[str] = None
"""


@pytest.mark.parametrize(
    ("version", "cuda", "found"),
    [
        ("2.13.0+cu130", "'13.0'", (13, 0)),
        ("2.14.0", "'12.9'", (12, 9)),
        ("2.13.0+cpu", "None", None),
    ],
)
def test_version_and_cuda(version: str, cuda: str, found: tuple[int, int] | None) -> None:
    assert parse_version_file(_FILE.format(version=version, cuda=cuda)) == TorchBuild(version, found)


def test_a_file_in_another_form_says_nothing() -> None:
    assert parse_version_file("version = 3") is None


@pytest.mark.engine
def test_the_installed_torch_matches_its_own_report() -> None:
    import torch

    found = installed_torch()
    assert found is not None
    assert found.version == torch.__version__
    assert (found.cuda is None) == (torch.version.cuda is None)


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from maritalk_vllm.engine.torch_build import installed_torch; "
        "installed_torch(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
