"""A model hub on the loopback, with the routes that huggingface_hub requests for a snapshot."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.answering import Answering, Request, answering

NAME = "acme/tiny"
CHUNK = 64 * 1024
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _file_info(path: Path, folder: Path) -> dict[str, object]:
    data = path.read_bytes()
    info = {"type": "file", "path": str(path.relative_to(folder)), "size": len(data), "oid": _oid(data)}
    if path.suffix == ".safetensors":
        info["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
    return info


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def hub_answer(folder: Path, pause: float = 0.0) -> Callable[[Request], None]:
    """Respond as a hub with `folder` as the model NAME; `pause` is the seconds between two chunks of a file."""

    def answer(request: Request) -> None:
        path, _, _ = request.path.partition("?")
        if path == f"/api/models/{NAME}/revision/main":
            request.reply(200, json.dumps({"id": NAME, "sha": COMMIT}).encode(), content_type="application/json")
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            files = [_file_info(file, folder) for file in sorted(folder.rglob("*")) if file.is_file()]
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
    """Serve the hub."""
    with answering(hub_answer(folder, pause)) as server:
        yield server


def _file(request: Request, file: Path, pause: float) -> None:
    if not file.is_file():
        request.reply(404, x_error_code="EntryNotFound")
        return
    data = file.read_bytes()
    etag = hashlib.sha256(data).hexdigest() if file.suffix == ".safetensors" else _oid(data)
    request.begin(200, etag=f'"{etag}"', x_repo_commit=COMMIT, content_length=len(data))
    if request.command == "GET":
        for start in range(0, len(data), CHUNK):
            request.wfile.write(data[start : start + CHUNK])
            time.sleep(pause)
