"""A hub of models on the loopback, with the routes that huggingface_hub asks for a snapshot."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.answering import Answering, Request, answering

NAME = "acme/tiny"
PIECE = 64 * 1024
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _listed(path: Path, folder: Path) -> dict[str, object]:
    data = path.read_bytes()
    listed = {"type": "file", "path": str(path.relative_to(folder)), "size": len(data), "oid": _oid(data)}
    if path.suffix == ".safetensors":
        listed["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
    return listed


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def hub_answer(folder: Path, pause: float = 0.0) -> Callable[[Request], None]:
    """Answers as a hub with `folder` as the model NAME; `pause` seconds between two pieces of a file."""

    def answer(request: Request) -> None:
        path, _, _ = request.path.partition("?")
        if path == f"/api/models/{NAME}/revision/main":
            request.reply(200, json.dumps({"id": NAME, "sha": COMMIT}).encode(), content_type="application/json")
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            files = [_listed(file, folder) for file in sorted(folder.rglob("*")) if file.is_file()]
            request.reply(200, json.dumps(files).encode(), content_type="application/json")
        elif path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
            _file(request, folder / path.removeprefix(f"/{NAME}/resolve/{COMMIT}/"), pause)
        elif path.startswith("/api/models/acme/gated"):
            request.reply(403, b"{}", x_error_code="GatedRepo", content_type="application/json")
        else:
            request.reply(404, b"{}", x_error_code="RepoNotFound", content_type="application/json")

    return answer


@contextmanager
def hub(folder: Path, pause: float = 0.0) -> Iterator[Answering]:
    """Serves that."""
    with answering(hub_answer(folder, pause)) as server:
        yield server


def _file(request: Request, file: Path, pause: float) -> None:
    if not file.is_file():
        request.reply(404, x_error_code="EntryNotFound")
        return
    data = file.read_bytes()
    sign = hashlib.sha256(data).hexdigest() if file.suffix == ".safetensors" else _oid(data)
    request.begin(200, etag=f'"{sign}"', x_repo_commit=COMMIT, content_length=len(data))
    if request.command == "GET":
        for at in range(0, len(data), PIECE):
            request.wfile.write(data[at : at + PIECE])
            time.sleep(pause)
