"""Ask the Hugging Face hub for the configuration and size of a model that is not local: a few kB."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import WeightsError
from ..i18n.message import msg, sentences
from ..models.memory_footprint import MemoryFootprint
from ..models.remote_footprint import remote_footprint
from . import huggingface_client
from .huggingface import explain

_TOTAL_SECONDS = 10.0
"""Timeout for all responses together: an unreachable DNS resolver takes longer than any connection timeout."""

_RESPONSE_SECONDS = 3.0
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Remote:
    """The hub's metadata of a model. `footprint` is None if it is insufficient; `remark` is a sentence about it.

    `error` is the reason why a download would also fail, if it would.
    """

    footprint: MemoryFootprint | None
    remark: str
    error: WeightsError | None = None


def query_hub(name: str, revision: str | None = None) -> Remote:
    """Ask the hub, for at most 10 s; it learns no more than from a download. Raises WeightsError: no such model."""
    results: list[Remote | Exception] = []

    def request() -> None:
        try:
            results.append(_request(name, revision))
        except Exception as error:  # noqa: BLE001 -- raised or explained below
            results.append(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(_TOTAL_SECONDS)
    result = next(iter(results), None)
    if result is None:
        silent = WeightsError(
            msg("{name} cannot be downloaded from Hugging Face: it does not answer.", name=name), _HINT
        )
        return Remote(None, silent.message, silent)
    if isinstance(result, WeightsError):  # a server start would fail with it too, after the download
        return Remote(None, msg("{name} on Hugging Face: {message}", name=name, message=result.message), result)
    if isinstance(result, Remote):
        return result
    if not huggingface_client.is_hub_error(result):
        raise result
    return _explain_error(name, result)


_HINT = "Check the network, or give the folder that holds the model: --model PATH."


def _explain_error(name: str, error: Exception) -> Remote:
    """Convert an error of huggingface_hub, of its HTTP client or of the network."""
    from huggingface_hub import errors

    reason = explain(error, name)
    missing = errors.RepositoryNotFoundError, errors.RevisionNotFoundError
    if isinstance(error, missing) and not isinstance(error, errors.GatedRepoError):
        raise reason from error
    hint = reason.hint if isinstance(error, errors.GatedRepoError) else ""
    return Remote(None, sentences(reason.message, hint), reason)


def _request(name: str, revision: str | None) -> Remote:
    from huggingface_hub import (
        constants,
        errors,
        get_hf_file_metadata,
        get_session,
        hf_hub_url,
        hf_raise_for_status,
    )
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        raise errors.OfflineModeIsEnabled("HF_HUB_OFFLINE")
    huggingface_client.limit_responses()
    constants.HF_HUB_DISABLE_TELEMETRY = True  # telemetry would first list other installed programs

    def url(file: str) -> str:
        return hf_hub_url(name, file, revision=revision)

    def read(file: str) -> dict[str, Any]:
        response = get_session().get(url(file), headers=build_hf_headers(), timeout=_RESPONSE_SECONDS)
        hf_raise_for_status(response)
        content = json.loads(response.content)
        return content if isinstance(content, dict) else {}

    def size(file: str) -> int | None:
        try:
            total = read(f"{file}.index.json").get("metadata", {}).get("total_size")
            return int(total) if isinstance(total, int | float) else None
        except errors.EntryNotFoundError:
            return get_hf_file_metadata(url(file), timeout=_RESPONSE_SECONDS).size

    config = _none_if_missing(lambda: read("config.json"))
    stored = next(filter(None, (_none_if_missing(partial(size, file)) for file in _WEIGHTS)), None)
    footprint = remote_footprint(config, stored) if config and stored else None
    if footprint is None:
        return Remote(
            None,
            msg("{name} is not on this machine, and its files on Hugging Face do not say how large it is.", name=name),
        )
    return Remote(
        footprint, msg("{name} is not on this machine: its size is that of its files on Hugging Face.", name=name)
    )


def _none_if_missing(query: Callable[[], Any]) -> Any:  # noqa: ANN401
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return query()
    except (EntryNotFoundError, ValueError, AttributeError):  # missing, not JSON, or of another structure
        return None
