"""Our classes that derive from vLLM's, and the methods that vLLM leaves to them: read from source."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Subclass(NamedTuple):
    """A class of ours: its dotted name, those of its base classes in vLLM, and what it defines itself."""

    name: str
    bases: frozenset[str]
    defined: frozenset[str]


def subclasses(file: Path, root: Path) -> Iterator[Subclass]:
    """The classes of a file below `root` that have a base class in vLLM."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    module = ".".join(file.relative_to(root).with_suffix("").parts)
    names = _imports(tree, "")
    for node in _classes(tree):
        bases = {name for base in node.bases if (name := names.get(_name(base), "")).startswith("vllm.")}
        if bases:
            yield Subclass(f"{module}.{node.name}", frozenset(bases), frozenset(_members(node)))


def abstract_methods(name: str, site_packages: Path) -> set[str]:
    """The methods that a class of vLLM leaves to its subclasses: abstract ones, and those that only raise.

    Empty for a name that is no class of vLLM.
    """
    module, _, last = name.rpartition(".")
    file = source(module, site_packages)
    if file is None:
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = _imports(tree, module if file.name == "__init__.py" else module.rpartition(".")[0])
    names |= {node.name: f"{module}.{node.name}" for node in _classes(tree)}
    node = next((each for each in _classes(tree) if each.name == last), None)
    if node is None:  # re-exported from another module
        return abstract_methods(names[last], site_packages) if names.get(last, "").startswith("vllm.") else set()
    inherited = {
        method
        for base in node.bases
        if (dotted := names.get(_name(base), "")).startswith("vllm.") and dotted != name
        for method in abstract_methods(dotted, site_packages)
    }
    members = _members(node)
    return (inherited - members.keys()) | {method for method, is_abstract in members.items() if is_abstract}


def source(module: str, site_packages: Path) -> Path | None:
    """The file of a module or package; None if there is none."""
    path = site_packages / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _imports(tree: ast.AST, package: str) -> dict[str, str]:
    """The dotted name of each name that is imported from a module; `package` is the one that holds this module."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            found |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
    return found


def _name(base: ast.expr) -> str:
    """The name of a base class, also of a generic one."""
    if isinstance(base, ast.Subscript):
        base = base.value
    return base.id if isinstance(base, ast.Name) else ""


def _members(node: ast.ClassDef) -> dict[str, bool]:
    """What the class itself defines, and whether that is an abstract method."""
    found = {}
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            found[each.name] = _is_abstract(each)
        elif isinstance(each, ast.Assign):
            found |= {target.id: False for target in each.targets if isinstance(target, ast.Name)}
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value is not None:
            found[each.target.id] = False
    return found


def _is_abstract(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    if any(ast.unparse(decorator).rpartition(".")[2] == "abstractmethod" for decorator in function.decorator_list):
        return True
    body = function.body if ast.get_docstring(function) is None else function.body[1:]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.unparse(body[0])
