"""The HTTP client of huggingface_hub, within bounds: how long an answer is, and where a redirect leads.

The library reads answers whole, those of redirects as well, and decodes what the server says is compressed.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import WeightsError
from ..licensing.http_address import SCHEMES

DESCRIPTION_BYTES = 32 << 20
"""The longest list of files, configuration or index."""

_ASK = "Check HF_ENDPOINT, or give the folder that holds the model: --model PATH."


def bound(most_bytes: int = 0) -> None:
    """From now on no answer is longer than a description of a model may be, or `most_bytes` if that is more."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory  # the one that is in use unless another is set

    def client() -> Any:  # noqa: ANN401 - of httpx or httpx2, by the library's version
        made: Any = default_client_factory()
        hooks = made.event_hooks
        hooks["response"] = [*hooks["response"], partial(_check, max(DESCRIPTION_BYTES, most_bytes))]
        made.event_hooks = hooks
        return made

    set_client_factory(client)


def _check(most_bytes: int, response: Any) -> None:  # noqa: ANN401
    """Raises WeightsError, as reading the body later does."""
    if response.has_redirect_location:
        _check_redirect(str(response.url), response.headers["location"])
    # As it comes, and as it is decoded: one may be long where the other is not.
    response.iter_raw = partial(_read, response.iter_raw, most_bytes)
    response.iter_bytes = partial(_read, response.iter_bytes, most_bytes)


def _check_redirect(here: str, location: str) -> None:
    try:
        scheme = urlsplit(urljoin(here, location)).scheme
    except ValueError as error:
        raise WeightsError(f"Hugging Face redirects to what is no address: {error}.", _ASK) from error
    if scheme not in SCHEMES or (here.startswith("https:") and scheme != "https"):
        raise WeightsError(f"Hugging Face redirects to an address of {scheme[:20]}://, which is not followed.", _ASK)


def _read(read: Callable[..., Iterator[bytes]], most_bytes: int, chunk_size: int | None = None) -> Iterator[bytes]:
    done = 0
    for chunk in read(chunk_size):
        done += len(chunk)
        if done > most_bytes:
            raise WeightsError("Hugging Face sends more than a model's files have.", _ASK)
        yield chunk
