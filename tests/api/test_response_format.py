"""Error responses of vLLM's application and its router in the form of each path's API."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse, Response, StreamingResponse

from maritalk_vllm.api.response_format import ResponseFormat

app = FastAPI()


@app.get("/v1/known")
async def known() -> dict[str, str]:
    return {"detail": "Not Found"}


@app.get("/v1/missing")
async def missing() -> None:
    raise HTTPException(404, {"message": "no such answer"})


@app.post("/v1/read")
async def read(body: dict[str, int]) -> dict[str, int]:
    return body


@app.get("/v1/text")
async def text() -> Response:
    return Response("Not Found", 404, media_type="text/plain")


@app.get("/v1/own")
async def own() -> JSONResponse:
    return JSONResponse({"error": {"message": "no such model"}}, 404)


@app.get("/v1/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(iter([b"data: 1\n\n"]), media_type="text/event-stream")


@app.get("/v1/kept")
async def kept() -> StreamingResponse:
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(iter([b"data: 1\n\n"]), media_type="text/event-stream", headers=headers)


@app.get("/v1/busy")
async def busy() -> JSONResponse:
    return JSONResponse({"error": {"message": "the queue is full"}}, 503)


@app.get("/v1/closed")
async def closed() -> None:
    raise HTTPException(503, "closed")


def ask(method: str, path: str, body: bytes = b"") -> httpx.Response:
    async def scenario() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(ResponseFormat(app)), base_url="http://x") as client:
            return await client.request(method, path, content=body, headers={"Content-Type": "application/json"})

    return asyncio.run(scenario())


def test_unknown_route_gets_404_in_the_form_of_its_api() -> None:
    answer = ask("GET", "/generates")
    message = "There is no route /generates. /docs lists all routes."
    assert (answer.status_code, answer.json()) == (404, {"error": message, "detail": message})
    assert answer.headers["content-length"] == str(len(answer.content))
    answer = ask("POST", "/v1/nothing")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFoundError")
    assert answer.json()["error"]["message"].startswith("There is no route /v1/nothing.")
    assert ask("GET", "/v1/messages/x").json()["error"]["type"] == "not_found_error"


def test_wrong_method_gets_405() -> None:
    answer = ask("DELETE", "/v1/known")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    error = answer.json()["error"]
    assert (error["message"], error["code"]) == ("DELETE is not for /v1/known. Use GET.", 405)


def test_unreadable_body_gets_400() -> None:
    answer = ask("POST", "/v1/read", b"[" * 100_000)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["message"]) == (400, 400, "There was an error parsing the body.")


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/v1/known", 200, '{"detail":"Not Found"}'),
        ("/v1/missing", 404, '{"detail":{"message":"no such answer"}}'),
        ("/v1/text", 404, "Not Found"),
        ("/v1/own", 404, '{"error":{"message":"no such model"}}'),
    ],
)
def test_other_responses_are_unchanged(path: str, status: int, body: str) -> None:
    answer = ask("GET", path)
    assert (answer.status_code, answer.text) == (status, body)


def test_streams_forbid_proxy_buffering_and_caching() -> None:
    headers = ask("GET", "/v1/stream").headers
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-cache")
    assert ask("GET", "/v1/kept").headers["cache-control"] == "no-store"
    assert "x-accel-buffering" not in ask("GET", "/v1/known").headers


@pytest.mark.parametrize("path", ["/v1/busy", "/v1/closed"])
def test_every_503_has_retry_after(path: str) -> None:
    answer = ask("GET", path)
    assert (answer.status_code, answer.headers.get_list("retry-after")) == (503, ["1"])
