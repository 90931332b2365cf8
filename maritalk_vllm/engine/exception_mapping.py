"""The border to vLLM: what it raises on a request becomes an error of ours, and the other way round."""

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
    """Raises RequestError, Unavailable or EngineError for what vLLM raises inside. Other errors are bugs, and stay."""
    from vllm.exceptions import GracefulHTTPError, RetryableRequestError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except MariTalkError:
        raise
    except (GracefulHTTPError, RetryableRequestError) as error:
        _raise_ours(error)
        raise Unavailable("The server has as many requests as it can take.", "Try again in a moment.") from error
    except (VLLMClientError, ValueError) as error:
        if not isinstance(error, VLLMClientError) and not _is_from_vllm(error):
            raise
        _raise_ours(error)
        # str() of vLLM's own adds the parameter's name in its terms.
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise RequestError(f"The model cannot take this request: {reason}") from error
    except EngineDeadError as error:
        raise Unavailable("The engine has stopped.", "The server's log says why.") from error
    except EngineGenerateError as error:
        raise EngineError("The engine failed on this request.", "The server's log says why.") from error


@contextlib.contextmanager
def map_to_vllm_exceptions() -> Iterator[None]:
    """Raises an error that vLLM's own routes answer with the status of ours, which is its cause."""
    try:
        yield
    except MariTalkError as error:
        from vllm.exceptions import GracefulHTTPError, VLLMValidationError

        if error.http_status == HTTPStatus.BAD_REQUEST:
            raise VLLMValidationError(str(error)) from error
        raise GracefulHTTPError(str(error), HTTPStatus(error.http_status)) from error


def answer_dead_engine(app: "FastAPI") -> None:
    """Have vLLM's own routes answer 503 where the engine has died, and leave the server to the API process's watch.

    vLLM's handler answers 500, and asks a server in `app.state` to exit, which only vLLM's own launcher puts there.
    """
    from vllm.entrypoints.serve.exception_handling.handlers.vllm_error import vllm_error_handler
    from vllm.exceptions import GracefulHTTPError
    from vllm.v1.engine.exceptions import EngineDeadError

    async def died(request: "Request", error: Exception) -> "Response":
        unavailable = GracefulHTTPError("The engine has stopped.", HTTPStatus.SERVICE_UNAVAILABLE)
        response: Response = await vllm_error_handler(request, unavailable)
        return response

    app.add_exception_handler(EngineDeadError, died)
    app.state.server = SimpleNamespace(should_exit=False)


def _raise_ours(error: Exception) -> None:
    """Raises the error of ours that it stands for, if it is one of `our_errors`."""
    if isinstance(error.__cause__, MariTalkError):
        raise error.__cause__ from None


def _is_from_vllm(error: Exception) -> bool:
    """Whether vLLM has raised it, and not we: some of its renderers have no type of their own for a bad request."""
    ours = __name__.partition(".")[0]
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    packages = [name.partition(".")[0] for name in modules]
    return next((name for name in reversed(packages) if name in ("vllm", ours)), ours) == "vllm"
