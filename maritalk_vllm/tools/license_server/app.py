"""HTTP application of the licence service: its two routes and error responses."""

import logging
import re
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException

from ...api import request_parsing as json_body
from ...errors import BodyTooLarge, BodyTooSlow, RequestError, Unavailable
from ...server.middleware import body_limits
from . import launcher_script
from .audit_log import Entry
from .database import Database
from .issuing import LicenseIssuer
from .prefer_header import Preference
from .service_errors import Malformed, ServiceError, TooLong

_MAX_BODY_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=[\d ,-]{1,100}")


class _IssueRequest(msgspec.Struct):
    license: str


def create_app(database: Database, *, public_url: str | None, link_seconds: int) -> FastAPI:
    """Create the application. Links begin with `public_url`, or else with the base URL of the request."""
    service = LicenseIssuer(database, link_seconds)
    app = FastAPI(openapi_url=None)

    # Not async: they block on the database, so FastAPI runs them in threads.
    @app.post("/local/download")
    def issue(request: Request, body: Annotated[bytes, Depends(_read_body)]) -> JSONResponse:
        try:
            payload = json_body.read(body, _IssueRequest)
        except RequestError as error:
            raise Malformed(str(error)) from error
        preference = Preference.parse(request.headers.getlist("prefer"))
        return JSONResponse(service.issue(payload.license, preference, base_url(request), _client(request)))

    @app.api_route("/files/{name}", methods=["GET", "HEAD"])
    def download(name: str, request: Request) -> Response:
        delivery = service.open(name, request.query_params)
        archive = delivery.archive
        if request.method == "GET":
            model = archive.model if archive else ""
            service.record(Entry("download", delivery.key, model, _client(request), _range(request)))
        # A cache would also serve the file for revoked keys.
        headers = {"Cache-Control": "no-store"}
        if archive is None:
            return Response(launcher_script.script(base_url(request)), headers=headers, media_type="text/x-shellscript")
        headers["ETag"] = f'"{archive.sha256}"'
        kind = "application/octet-stream"
        return FileResponse(archive.path, headers=headers, media_type=kind, stat_result=delivery.file)

    def base_url(request: Request) -> str:
        return (public_url or str(request.base_url)).rstrip("/")

    @app.exception_handler(ServiceError)
    def reject(request: Request, error: ServiceError) -> JSONResponse:
        service.record(Entry("refused", error.key, error.model, _client(request), str(error)))
        return _error(error.http_status, str(error))

    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(BodyTooSlow, _too_slow)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _failed)
    return app


async def _read_body(request: Request) -> bytes:
    """Read the body. Raises TooLong at the limit, BodyTooSlow, and Malformed if the client disconnects."""
    try:
        body = await body_limits.read_body(request.receive, _MAX_BODY_BYTES)
    except BodyTooLarge as error:
        raise TooLong(f"The body is longer than {_MAX_BODY_BYTES // 1024} KiB.") from error
    if body is None:
        raise Malformed("The body broke off.")
    return body


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _range(request: Request) -> str:
    """The Range header for the audit log, if it is well formed."""
    value = request.headers.get("range", "")
    return value if _RANGE.fullmatch(value) else ""


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    logging.getLogger(__name__).error("%s", error)
    return _error(503, str(error))


def _too_slow(_: Request, error: Exception) -> JSONResponse:
    return _error(408, str(error), {"Connection": "close"})


def _no_route(_: Request, error: Any) -> JSONResponse:  # noqa: ANN401
    return _error(error.status_code, f"{error.detail}.", error.headers)


def _failed(_: Request, __: Exception) -> JSONResponse:
    """Response for an unexpected exception, which uvicorn logs to stderr."""
    return _error(500, "The service failed.")


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers)
