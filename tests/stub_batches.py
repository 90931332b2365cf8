"""A stub of a server's files and batches: OpenAI's routes and objects, with invented results.

It stands for any server with that API in tests of our clients, the command and the page. A line whose body has
`"fail": true` fails; a batch goes one status further each time that it is asked for.
"""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FINAL = ("completed", "failed", "cancelled", "expired")
PIECE_BYTES = 1 << 16


@dataclass
class StubFile:
    """A file that was uploaded, or written by a batch."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int

    def json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }


@dataclass
class StubBatches:
    """Files and batches by their ids, the oldest first. `moves` false: no batch progresses.

    `key`: the only API key that is accepted, if any. `outages`: so many requests are answered with 503 at first.
    """

    files: dict[str, StubFile] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    moves: bool = True
    key: str | None = None
    outages: int = 0
    authorizations: list[str | None] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add_file(self, filename: str, content: bytes, purpose: str = "batch") -> StubFile:
        number = next(self._numbers)
        file = StubFile(f"file-{number}", filename, purpose, content, 1_790_000_000 + number)
        self.files[file.id] = file
        return file

    def add_batch(self, file: StubFile, endpoint: str) -> dict[str, Any]:
        number = next(self._numbers)
        batch: dict[str, Any] = {
            "id": f"batch_{number}",
            "object": "batch",
            "endpoint": endpoint,
            "errors": None,
            "input_file_id": file.id,
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": 1_790_000_000 + number,
            "expires_at": 1_790_086_400 + number,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": None,
        }
        self.batches[batch["id"]] = batch
        return batch

    def advance(self, batch: dict[str, Any]) -> None:
        """Go one status further: the first request is done in `in_progress`, all are in `finalizing`."""
        lines = self.files[batch["input_file_id"]].content.splitlines()
        match batch["status"]:
            case "validating":
                wrong = [number for number, line in enumerate(lines, 1) if b'"custom_id"' not in line]
                if wrong:
                    error = {"code": "invalid", "line": wrong[0], "message": "The key custom_id is missing."}
                    batch |= {"status": "failed", "errors": {"object": "list", "data": [error]}}
                    return
                batch |= {"status": "in_progress"}
                batch["request_counts"] = {"total": len(lines), "completed": 0, "failed": 0}
            case "in_progress":
                requests = [json.loads(line) for line in lines]
                self._write_results(batch, [each for each in requests if each["body"].get("fail")], "error")
                self._write_results(batch, [each for each in requests if not each["body"].get("fail")], "output")
                batch["status"] = "finalizing"
            case "finalizing":
                batch["status"] = "completed"
            case "cancelling":
                batch["status"] = "cancelled"

    def _write_results(self, batch: dict[str, Any], requests: list[dict[str, Any]], kind: str) -> None:
        if not requests:
            return
        status = 400 if kind == "error" else 200
        results = [
            {
                "id": f"batch_req_{number}",
                "custom_id": request["custom_id"],
                "response": {"status_code": status, "request_id": f"req_{number}", "body": {"echo": request["body"]}},
                "error": None,
            }
            for number, request in enumerate(requests)
        ]
        content = "".join(f"{json.dumps(result)}\n" for result in results).encode()
        file = self.add_file(f"{batch['id']}_{kind}.jsonl", content, "batch_output")
        batch[f"{kind}_file_id"] = file.id
        batch["request_counts"]["failed" if kind == "error" else "completed"] = len(requests)

    @property
    def routes(self) -> list[Route]:
        return [
            self._route("/files", self._upload, "POST"),
            self._route("/files", self._list_files, "GET"),
            self._route("/files/{id}/content", self._content, "GET"),
            self._route("/files/{id}", self._delete_file, "DELETE"),
            self._route("/batches", self._create, "POST"),
            self._route("/batches", self._list_batches, "GET"),
            self._route("/batches/{id}", self._retrieve, "GET"),
            self._route("/batches/{id}/cancel", self._cancel, "POST"),
        ]

    @property
    def app(self) -> Starlette:
        return Starlette(routes=self.routes)

    def _route(self, path: str, answer: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        async def answer_if_allowed(request: Request) -> Response:
            self.authorizations.append(request.headers.get("authorization"))
            if self.key is not None and self.authorizations[-1] != f"Bearer {self.key}":
                return error(401, "An API key is needed.")
            if self.outages:
                self.outages -= 1
                return error(503, "The server is being restarted.")
            try:
                return await answer(request)
            except KeyError as missing:
                return error(404, f"There is no {missing}.")

        return Route(f"/v1{path}", answer_if_allowed, methods=[method])

    async def _upload(self, request: Request) -> Response:
        async with request.form() as form:
            upload = form["file"]
            if form["purpose"] != "batch":
                return error(400, "The purpose has to be batch.")
            assert not isinstance(upload, str)
            return JSONResponse(self.add_file(upload.filename or "", await upload.read()).json())

    async def _list_files(self, request: Request) -> Response:
        return page([file.json() for file in self.files.values()], request)

    async def _content(self, request: Request) -> Response:
        content = self.files[request.path_params["id"]].content
        pieces = (content[start : start + PIECE_BYTES] for start in range(0, len(content), PIECE_BYTES))
        return StreamingResponse(pieces, headers={"Content-Length": str(len(content))})

    async def _delete_file(self, request: Request) -> Response:
        file = self.files.pop(request.path_params["id"])
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    async def _create(self, request: Request) -> Response:
        asked = await request.json()
        if asked["completion_window"] != "24h":
            return error(400, "The completion_window has to be 24h.")
        return JSONResponse(self.add_batch(self.files[asked["input_file_id"]], asked["endpoint"]))

    async def _list_batches(self, request: Request) -> Response:
        return page([self._seen(batch) for batch in self.batches.values()], request)

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(self._seen(self.batches[request.path_params["id"]]))

    async def _cancel(self, request: Request) -> Response:
        batch = self.batches[request.path_params["id"]]
        if batch["status"] in FINAL:
            return error(409, f"The batch is {batch['status']}.")
        batch["status"] = "cancelling"
        return JSONResponse(batch)

    def _seen(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self.moves:
            self.advance(batch)
        return batch


def error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": None}}, status)


def page(objects: list[dict[str, Any]], request: Request) -> JSONResponse:
    """A page of a list, the newest first."""
    newest = objects[::-1]
    if after := request.query_params.get("after"):
        newest = newest[[each["id"] for each in newest].index(after) + 1 :]
    limit = int(request.query_params.get("limit", 20))
    return JSONResponse({"object": "list", "data": newest[:limit], "has_more": len(newest) > limit})
