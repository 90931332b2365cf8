"""Query parameters of lists."""

from typing import Annotated, TypeVar

import msgspec
from fastapi import Request

from ..api.request_parsing import explain
from ..errors import RequestError

_Query = TypeVar("_Query", bound=msgspec.Struct)

MAX_BATCHES = 100
MAX_FILES = 10_000
"""Maximum items of a page: OpenAI's limits."""


class FileQuery(msgspec.Struct):
    """The parameters of a list of files."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_FILES)] = MAX_FILES
    after: str | None = None
    order: Annotated[str, msgspec.Meta(pattern="^(asc|desc)$")] = "desc"
    purpose: str | None = None


class BatchQuery(msgspec.Struct):
    """The parameters of a list of batches."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCHES)] = 20
    after: str | None = None


def query_of(request: Request, kind: type[_Query]) -> _Query:
    """Read a request's parameters; unknown ones are ignored. Raises RequestError for an invalid one."""
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(f"{explain(error)}.") from error
