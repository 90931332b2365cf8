"""The Python examples of the documents, by the published client that they use."""

import ast
import subprocess
from pathlib import Path

from tests.clients.environments import environment
from tests.documents.pages import ORIGINALS, blocks
from tests.documents.place import SERVER
from tests.serving import Server

_SECONDS = 300


def examples() -> dict[str, list[str]]:
    """The code of each example, by the module that it imports first."""
    found: dict[str, list[str]] = {}
    for page in ORIGINALS:
        for block in blocks(page):
            if block.language == "python":
                found.setdefault(_client(block.text), []).append(block.text)
    return found


def _client(code: str) -> str:
    first, *_ = (node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom))
    return first.module or "" if isinstance(first, ast.ImportFrom) else first.names[0].name


def run(python: Path, codes: list[str], server: Server) -> str:
    """Run the examples as one program, which imports its client once; return its output."""
    code = "\n".join(codes).replace(SERVER, f"localhost:{server.port}")
    if server.port != 9000:
        code = code.replace("MariTalkLocal()", f"MariTalkLocal(port={server.port})")
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=_SECONDS, env=environment({}))
    assert result.returncode == 0, result.stderr
    return result.stdout
