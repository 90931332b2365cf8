"""Map vLLM's exceptions to ours, and ours to vLLM's."""

import contextlib
import traceback
from collections.abc import Iterator
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING

from ..errors import EngineError, MariTalkError, RequestError, Unavailable

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response


@contextlib.contextmanager
def map_vllm_exceptions() -> Iterator[None]:
    """Map vLLM's errors to RequestError, Unavailable or EngineError. Other exceptions are bugs and propagate."""
    from vllm.exceptions import GracefulHTTPError, RetryableRequestError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except MariTalkError:
        raise
    except (GracefulHTTPError, RetryableRequestError) as error:
        _raise_cause(error)
        raise Unavailable("The server has as many requests as it can take.", "Try again in a moment.") from error
    except (VLLMClientError, ValueError) as error:
        if not isinstance(error, VLLMClientError) and not _is_from_vllm(error):
            raise
        _raise_cause(error)
        # str() of a vLLM error appends the parameter name in vLLM's terms.
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise RequestError(f"The model cannot take this request: {reason}") from error
    except EngineDeadError as error:
        raise Unavailable("The engine has stopped.", "The server's log says why.") from error
    except EngineGenerateError as error:
        raise EngineError("The engine failed on this request.", "The server's log says why.") from error


@contextlib.contextmanager
def map_to_vllm_exceptions() -> Iterator[None]:
    """Map our errors to vLLM errors that its routes answer with the same status. The cause is our error."""
    try:
        yield
    except MariTalkError as error:
        raise to_vllm_error(error) from error


def to_vllm_error(error: MariTalkError) -> Exception:
    """Return the vLLM error that its routes answer with the status of `error`, which is its cause."""
    from vllm.exceptions import GracefulHTTPError, VLLMValidationError

    mapped: Exception
    if error.http_status == HTTPStatus.BAD_REQUEST:
        mapped = VLLMValidationError(str(error))
    else:
        mapped = GracefulHTTPError(str(error), HTTPStatus(error.http_status))
    mapped.__cause__ = error
    return mapped


def answer_dead_engine(app: "FastAPI") -> None:
    """Make vLLM's own routes answer 503 after the engine has died. The API process stops the server, not the handler.

    vLLM's handler answers 500 and asks a server in `app.state` to exit, which only vLLM's own launcher sets.
    """
    from vllm.entrypoints.serve.exception_handling.handlers.vllm_error import vllm_error_handler
    from vllm.exceptions import GracefulHTTPError
    from vllm.v1.engine.exceptions import EngineDeadError

    async def answer_unavailable(request: "Request", error: Exception) -> "Response":
        unavailable = GracefulHTTPError("The engine has stopped.", HTTPStatus.SERVICE_UNAVAILABLE)
        response: Response = await vllm_error_handler(request, unavailable)
        return response

    app.add_exception_handler(EngineDeadError, answer_unavailable)
    app.state.server = SimpleNamespace(should_exit=False)


def _raise_cause(error: Exception) -> None:
    """Raise the MariTalkError that caused `error`, if `map_to_vllm_exceptions` made it."""
    if isinstance(error.__cause__, MariTalkError):
        raise error.__cause__ from None


def _is_from_vllm(error: Exception) -> bool:
    """Whether vLLM raised `error`. Some of its renderers raise a plain ValueError for a bad request."""
    ours = __name__.partition(".")[0]
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    packages = [name.partition(".")[0] for name in modules]
    return next((name for name in reversed(packages) if name in ("vllm", ours)), ours) == "vllm"
