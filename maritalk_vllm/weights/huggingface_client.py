"""Limit the HTTP client of huggingface_hub: the size of responses and the targets of redirects.

The library reads whole responses, also those of redirects, and decodes what the server declares as compressed.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import WeightsError
from ..i18n.message import msg
from ..licensing.http_address import SCHEMES

METADATA_BYTES = 32 << 20
"""Longest response with a list of files, a configuration or an index."""

_HINT = "Check HF_ENDPOINT, or give the folder that holds the model: --model PATH."


_LIBRARIES = {"huggingface_hub", "hf_xet", "httpx", "httpx2", "httpcore", "httpcore2"}


def is_hub_error(error: Exception) -> bool:
    """Whether the network, the hub, its library or the disk failed, rather than our own code.

    The library raises OSError and ValueError beside its own errors, and hf_xet, which is written in Rust, RuntimeError.
    """
    if isinstance(error, OSError | ValueError | RuntimeError):
        return True
    return any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in type(error).__mro__)


def limit_responses(max_bytes: int = 0) -> None:
    """Limit responses from now on to METADATA_BYTES, or to `max_bytes` if that is more."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory  # the factory in use unless another is set

    def client() -> Any:  # noqa: ANN401 - of httpx or httpx2, by the library's version
        default_client: Any = default_client_factory()
        hooks = default_client.event_hooks
        hooks["response"] = [*hooks["response"], partial(_check, max(METADATA_BYTES, max_bytes))]
        default_client.event_hooks = hooks
        return default_client

    set_client_factory(client)


def _check(max_bytes: int, response: Any) -> None:  # noqa: ANN401
    """Raises WeightsError for a forbidden redirect. Reading too long a body raises it later."""
    if response.has_redirect_location:
        _check_redirect(str(response.url), response.headers["location"])
    # Limit the body both as received and as decoded: either may be much longer than the other.
    response.iter_raw = partial(_read, response.iter_raw, max_bytes)
    response.iter_bytes = partial(_read, response.iter_bytes, max_bytes)


def _check_redirect(url: str, location: str) -> None:
    try:
        scheme = urlsplit(urljoin(url, location)).scheme
    except ValueError as error:
        raise WeightsError(msg("Hugging Face redirects to an invalid address: {error}.", error=error), _HINT) from error
    if scheme not in SCHEMES or (url.startswith("https:") and scheme != "https"):
        raise WeightsError(
            msg("Hugging Face redirects to an address of {scheme}://, which is not followed.", scheme=scheme[:20]),
            _HINT,
        )


def _read(read: Callable[..., Iterator[bytes]], max_bytes: int, chunk_size: int | None = None) -> Iterator[bytes]:
    done = 0
    for chunk in read(chunk_size):
        done += len(chunk)
        if done > max_bytes:
            raise WeightsError("Hugging Face sends more than a model's files have.", _HINT)
        yield chunk
