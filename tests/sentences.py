"""Extract the messages for users from the source code, to compare them with the catalogue."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "maritalk_vllm"

# Packages and files without messages for the terminal: theirs go over HTTP, into a log or into a database.
SILENT = (
    "api",
    *(f"batches/{name}" for name in ("batch_", "disk_guard", "file_", "input_", "journal", "line_", "page", "query")),
    "batches/upload.py",
    "tools/bench/prompts.py",
    "tools/license_server/app.py",
    "tools/license_server/launcher_script.py",
    "tools/license_server/signed_urls.py",
    "tools/license_server/service_errors.py",
    "tools/license_server/issuing.py",
    "engine/admission.py",
    "engine/exception_mapping.py",
    "engine/exception_log.py",
    "engine/generator.py",
    "engine/grammar_checks.py",
    "engine/logprob_limits.py",
    "engine/prompt_limits.py",
    "engine/tool_arguments.py",
    "playground",
    "http/acceptor.py",
    "server/middleware/body_limits.py",
    "server/middleware/authentication.py",
    "server/middleware/content_encoding.py",
    "server/loading/loading_app.py",
    "server/middleware/allowed_hosts.py",
    "server/status/server_metrics.py",
    "http/overhead.py",
    "http/protocol.py",
    "server/middleware/rate_limit.py",
    "server/middleware/shared_usage.py",
    "http/request_head.py",
    "server/middleware/key_scopes.py",
    "server/loading/follower_app.py",
    "server/middleware/request_metrics.py",
)
_SEVERAL_WORDS = re.compile(r"[A-Za-z]{2,}\W* \W*[A-Za-z]{2,}|\} [a-z]{2,}|[a-z]{2,} \{")


def normal(sentence: str) -> str:
    """Normalize a message: `{}` for each placeholder, single spaces, no separators at the ends."""
    return re.sub(r"\{[^{}]*\}", "{}", " ".join(sentence.split())).strip(" ;,")


def spelled(node: ast.AST) -> str | None:
    """The text of a string constant or an f-string, with `{}` for each expression; None for any other node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Each module with messages for the terminal, parsed, by its path in the package."""
    places = {str(file.relative_to(PACKAGE)): file for file in sorted(PACKAGE.rglob("*.py"))}
    return {place: ast.parse(file.read_text()) for place, file in places.items() if not place.startswith(SILENT)}


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string except docstrings, annotations and patterns, each f-string as one, with its line number."""
    skipped = set()
    for node in ast.walk(tree):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None and not any(isinstance(part, ast.Call) for part in ast.walk(annotation)):
                skipped |= set(map(id, ast.walk(annotation)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.compile":
            skipped |= set(map(id, ast.walk(node)))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
            skipped |= {id(node.format_spec), *map(id, ast.walk(node.format_spec))}
    for node in ast.walk(tree):
        text = spelled(node)
        if text is not None and id(node) not in skipped:
            yield node.lineno, text  # type: ignore[attr-defined]


def is_sentence(text: str) -> bool:
    """Whether the text has several words, and so is more than a name."""
    return _SEVERAL_WORDS.search(text) is not None
