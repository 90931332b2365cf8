"""The border to vLLM: what it raises on a request becomes an error of ours."""

import contextlib
from collections.abc import Iterator

from ..errors import EngineError, MariTalkError, RequestError, Unavailable


@contextlib.contextmanager
def vllm_errors() -> Iterator[None]:
    """Raises RequestError, Unavailable or EngineError for what vLLM raises inside."""
    from vllm.exceptions import GracefulHTTPError, VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except MariTalkError:
        raise
    except GracefulHTTPError as error:
        raise Unavailable("The server has as many requests as it can take.", "Try again in a moment.") from error
    except (VLLMClientError, ValueError) as error:
        # str() of vLLM's own adds the parameter's name in its terms.
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise RequestError(f"The model cannot take this request: {reason}") from error
    except EngineDeadError as error:
        raise Unavailable("The engine has stopped.", "The server's log says why.") from error
    except EngineGenerateError as error:
        raise EngineError("The engine failed on this request.", "The server's log says why.") from error
