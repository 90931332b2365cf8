"""Checks the rules of docs/structure.md, mostly by the imports of each module."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "maritalk_vllm"
DOCUMENT = (PACKAGE.parent / "docs" / "structure.md").read_text()
BASE = (
    "settings",
    "errors",
    "extras",
    "text_format",
    "config_files",
    "private_file",
    "i18n",
    "masking",
    "stop_signals",
)
# Each package may import those after it, and the modules of the base.
PACKAGES = (
    "cli",
    "tools",
    "server",
    "http",
    "playground",
    "batches",
    "api",
    "engine",
    "planning",
    "weights",
    "licensing",
    "models",
    "hardware",
)
# The same within the server.
OF_THE_SERVER = (
    "supervisor",
    "engine_cycle",
    "successor_start",
    "lifecycle",
    "lifecycle_actions",
    "lifecycle_events",
    "process",
    "startup",
    "loading",
    "middleware",
    "cluster",
    "messaging",
    "status",
)
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def imports(file: Path) -> list[tuple[str, str]]:
    """Each imported module's full name, and when it is imported: `now`, `later` (in a function), `typing` (never)."""
    tree = ast.parse(file.read_text())
    when: dict[int, str] = {}
    for part in ast.walk(tree):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            when |= {id(node): "later" for node in ast.walk(part)}
        elif isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING":
            when |= {id(node): "typing" for node in ast.walk(part)}
    package = ("maritalk_vllm", *file.relative_to(PACKAGE).parts[:-1])
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [".".join((*base, *filter(None, [node.module])))]
            if node.module is None:
                names = [f"{names[0]}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [(name, when.get(id(node), "now")) for name in names]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_downwards(file: Path) -> None:
    package = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name, _ in imports(file):
        if not name.startswith("maritalk_vllm."):
            continue
        other = name.split(".")[1]
        if other in BASE or other == package or other.startswith("__"):
            continue
        assert package in PACKAGES, f"{file.name} imports {name}"
        assert PACKAGES.index(package) < PACKAGES.index(other), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", sorted(PACKAGE.glob("server/**/[a-z]*.py")), ids=lambda file: file.stem)
def test_imports_run_downwards_within_the_server(file: Path) -> None:
    part = file.relative_to(PACKAGE / "server").parts[0].removesuffix(".py")
    for name, _ in imports(file):
        if name.startswith("maritalk_vllm.server."):
            other = name.split(".")[2]
            assert OF_THE_SERVER.index(part) <= OF_THE_SERVER.index(other), f"{file.name} imports {name}"


def test_tools_do_not_import_each_other() -> None:
    """Except capacity, which plans from benchmark results. Modules directly in tools/ are for each of them."""
    folders = {file.parent.name for file in PACKAGE.glob("tools/*/__init__.py")}
    for file in PACKAGE.glob("tools/*/*.py"):
        named = {name.split(".")[2] for name, _ in imports(file) if name.startswith("maritalk_vllm.tools.")}
        tools = named & folders
        assert tools <= {file.parent.name} | ({"bench"} if file.parent.name == "capacity" else set()), file


def test_module_names_are_unique() -> None:
    """Except in cli/, where modules have the names of their commands."""
    names = [file.stem for file in FILES if not file.stem.startswith("__") and file.parent.name != "cli"]
    assert sorted(names) == sorted(set(names))


def test_no_module_is_long() -> None:
    assert [file for file in FILES if len(file.read_text().splitlines()) > 400] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_lazily_and_only_where_allowed(file: Path) -> None:
    place = file.relative_to(PACKAGE)
    for name, when in imports(file):
        top = name.partition(".")[0]
        if top == "vllm":
            assert place.parts[0] == "engine" or when == "typing", f"{place} imports {name}"
        if top in ("vllm", "torch", "transformers", "numpy"):
            assert when != "now", f"{place} imports {name} as soon as it is imported"
        if top == "pynvml":
            assert place == Path("hardware/nvml.py")


def test_only_the_fork_server_forks() -> None:
    """It runs neither a thread nor an event loop, whose state a fork would copy."""
    forking = {file.stem for file in FILES for name, _ in imports(file) if name.partition(".")[0] == "multiprocessing"}
    calling = {file.stem for file in FILES if "os.fork" in file.read_text()}
    assert forking | calling == {"fork_server"}


def test_the_chat_imports_only_schemas_of_the_server() -> None:
    """It starts quickly on any machine, since it shares only the request and response schemas with the server."""
    imported = {name for file in FILES if file.parent.name == "chat" for name, _ in imports(file)}
    ours = {name.removeprefix("maritalk_vllm.") for name in imported if name.startswith("maritalk_vllm.")}
    base_or_own = {
        name for name in ours if name.split(".")[0] in BASE or name.startswith(("tools.chat", "tools.server_"))
    }
    assert ours - base_or_own == {"api.local_schema"}


def test_every_package_is_documented() -> None:
    assert {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()} == {*PACKAGES, "i18n"}
    assert all(f"| `{package}/` |" in DOCUMENT for package in PACKAGES)


def test_the_table_of_locations_is_correct() -> None:
    page = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    rows = page.split("## Where is ...?")[1].split("\n## ")[0].strip().splitlines()[2:]
    assert len(rows) >= 8
    for row in rows:
        _, files, names = row.strip("| ").split(" | ")
        text = "".join((PACKAGE.parent / file).read_text() for file in re.findall(r"`(\S+\.py)`", files))
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b(def|class) {name}\b", text), row


def test_every_documented_file_exists() -> None:
    named = set(re.findall(r"\b(?:[a-z_]+/)+[a-z_]+\.py\b", DOCUMENT))
    missing = {name for name in named if not (PACKAGE / name).exists() and not (PACKAGE.parent / name).exists()}
    assert missing == set()
