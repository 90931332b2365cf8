"""The program, the package, the image, the documents and the examples have the same version."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from maritalk_vllm import __version__

ROOT = Path(__file__).parent.parent
PRINTED = [
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("deploy/**/*.yaml")),
    *sorted(ROOT.glob("examples/*.ipynb")),
]
_OURS = re.compile(r"maritalk[-_]vllm[-:](\d+\.\d+\.\d+)|\btag: (\d+\.\d+\.\d+)")


def test_the_package_and_the_image_have_the_version_of_the_program() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__
    assert f"\nARG VERSION={__version__}\n" in (ROOT / "Dockerfile").read_text()


def printed(file: Path) -> list[Version]:
    return [Version(one or other) for one, other in _OURS.findall(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("file", [*filter(printed, PRINTED)], ids=lambda file: str(file.relative_to(ROOT)))
def test_documents_and_examples_install_this_version(file: Path) -> None:
    """Examples of an upgrade may also name a later version."""
    assert min(printed(file)) == Version(__version__)


def test_the_pattern_matches_known_files() -> None:
    found = {file.name for file in PRINTED if printed(file)}
    assert {"systemd.md", "kubernetes.md", "demo-cpu.yaml", "weights.yaml", "colab.ipynb"} <= found


@pytest.mark.parametrize("page", ["README.md", "README.pt-BR.md", "docs/comparison.md"])
def test_the_documents_name_the_supported_versions_of_vllm(page: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    windows = {Requirement(extras[extra][0]).specifier for extra in ("cpu", "cuda")}
    named = re.findall(r"vLLM `([<>=.,\d]+)`", (ROOT / page).read_text(encoding="utf-8"))
    assert {SpecifierSet(window) for window in named} == windows
