"""The service's two routes."""

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

_LONGEST_BODY = 64 * 1024
_RANGE = re.compile(r"bytes=[\d ,-]{1,100}")


class _Asked(msgspec.Struct):
    license: str


def create_app(database: Database, *, public_url: str | None, link_seconds: int) -> FastAPI:
    """The application. Links begin with `public_url`, or with the address by which they were asked for."""
    service = LicenseIssuer(database, link_seconds)
    app = FastAPI(openapi_url=None)

    # Plain functions, which run in threads: they wait for the database.
    @app.post("/local/download")
    def issue(request: Request, body: Annotated[bytes, Depends(_read_body)]) -> JSONResponse:
        try:
            asked = json_body.read(body, _Asked)
        except RequestError as error:
            raise Malformed(str(error)) from error
        wish = Preference.read(request.headers.getlist("prefer"))
        return JSONResponse(service.issue(asked.license, wish, base(request), _client(request)))

    @app.api_route("/files/{name}", methods=["GET", "HEAD"])
    def download(name: str, request: Request) -> Response:
        delivery = service.open(name, request.query_params)
        archive = delivery.archive
        if request.method == "GET":
            model = archive.model if archive else ""
            service.record(Entry("download", delivery.key, model, _client(request), _range(request)))
        # What a cache kept would be given out to revoked keys too.
        headers = {"Cache-Control": "no-store"}
        if archive is None:
            return Response(launcher_script.script(base(request)), headers=headers, media_type="text/x-shellscript")
        headers["ETag"] = f'"{archive.sha256}"'
        kind = "application/octet-stream"
        return FileResponse(archive.path, headers=headers, media_type=kind, stat_result=delivery.file)

    def base(request: Request) -> str:
        return (public_url or str(request.base_url)).rstrip("/")

    @app.exception_handler(ServiceError)
    def refuse(request: Request, refusal: ServiceError) -> JSONResponse:
        service.record(Entry("refused", refusal.key, refusal.model, _client(request), str(refusal)))
        return _error(refusal.http_status, str(refusal))

    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(BodyTooSlow, _too_slow)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _failed)
    return app


async def _read_body(request: Request) -> bytes:
    """Raises TooLong as soon as it is, BodyTooSlow, and Malformed if the client goes away."""
    try:
        body = await body_limits.read_body(request.receive, _LONGEST_BODY)
    except BodyTooLarge as error:
        raise TooLong(f"The body is longer than {_LONGEST_BODY // 1024} KiB.") from error
    if body is None:
        raise Malformed("The body broke off.")
    return body


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _range(request: Request) -> str:
    """The header Range, for the audit; nothing else that a client may write there."""
    asked = request.headers.get("range", "")
    return asked if _RANGE.fullmatch(asked) else ""


def _unavailable(_: Request, error: Exception) -> JSONResponse:
    logging.getLogger(__name__).error("%s", error)
    return _error(503, str(error))


def _too_slow(_: Request, error: Exception) -> JSONResponse:
    return _error(408, str(error), {"Connection": "close"})


def _no_route(_: Request, error: Any) -> JSONResponse:  # noqa: ANN401
    return _error(error.status_code, f"{error.detail}.", error.headers)


def _failed(_: Request, __: Exception) -> JSONResponse:
    """What went wrong is written to stderr by uvicorn."""
    return _error(500, "The service failed.")


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers)
