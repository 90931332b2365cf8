"""What the Hugging Face hub tells of a model that is not here: its configuration and its size, a few kB."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import WeightsError
from ..models.memory_footprint import MemoryFootprint
from ..models.remote_footprint import remote_footprint
from . import huggingface_client
from .huggingface import explained

_PATIENCE_SECONDS = 10.0
"""For all answers together: a resolver that is not there takes longer than any timeout of a connection."""

_ANSWER_SECONDS = 3.0
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Remote:
    """What is known of a model elsewhere. `footprint` is None where it is not enough; `remark` is a sentence on it.

    `error` is why a download would fail too, if it would.
    """

    footprint: MemoryFootprint | None
    remark: str
    error: WeightsError | None = None


def ask(name: str, revision: str | None = None) -> Remote:
    """Asks the hub, for seconds at most. It is told no more than for a download. Raises WeightsError: no such model."""
    answers: list[Remote | Exception] = []

    def asked() -> None:
        try:
            answers.append(_asked(name, revision))
        except Exception as error:  # noqa: BLE001 - of huggingface_hub, of its HTTP client or of the network
            answers.append(error)

    thread = threading.Thread(target=asked, daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    answer = next(iter(answers), None)
    if answer is None:
        silent = WeightsError(f"{name} cannot be downloaded from Hugging Face: it does not answer.", _GIVE)
        return Remote(None, silent.message, silent)
    if isinstance(answer, WeightsError):  # a start would end with it too, after the download
        return Remote(None, f"{name} on Hugging Face: {answer.message}", answer)
    return answer if isinstance(answer, Remote) else _refused(name, answer)


_GIVE = "Check the network, or give the folder that holds the model: --model PATH."


def _refused(name: str, error: Exception) -> Remote:
    """What an error of huggingface_hub, of its HTTP client or of the network comes to."""
    from huggingface_hub import errors

    reason = explained(error, name)
    missing = errors.RepositoryNotFoundError, errors.RevisionNotFoundError
    if isinstance(error, missing) and not isinstance(error, errors.GatedRepoError):
        raise reason from error
    hint = f" {reason.hint}" if isinstance(error, errors.GatedRepoError) else ""
    return Remote(None, f"{reason.message}{hint}", reason)


def _asked(name: str, revision: str | None) -> Remote:
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
    huggingface_client.bound()
    constants.HF_HUB_DISABLE_TELEMETRY = True  # it would ask for a list of other programs first

    def url(file: str) -> str:
        return hf_hub_url(name, file, revision=revision)

    def read(file: str) -> dict[str, Any]:
        answer = get_session().get(url(file), headers=build_hf_headers(), timeout=_ANSWER_SECONDS)
        hf_raise_for_status(answer)
        content = json.loads(answer.content)
        return content if isinstance(content, dict) else {}

    def size(file: str) -> int | None:
        try:
            total = read(f"{file}.index.json").get("metadata", {}).get("total_size")
            return int(total) if isinstance(total, int | float) else None
        except errors.EntryNotFoundError:
            return get_hf_file_metadata(url(file), timeout=_ANSWER_SECONDS).size

    config = _unless_missing(lambda: read("config.json"))
    stored = next(filter(None, (_unless_missing(partial(size, file)) for file in _WEIGHTS)), None)
    footprint = remote_footprint(config, stored) if config and stored else None
    if footprint is None:
        return Remote(None, f"{name} is not on this machine, and its files on Hugging Face do not say how large it is.")
    return Remote(footprint, f"{name} is not on this machine: its size is that of its files on Hugging Face.")


def _unless_missing(ask: Callable[[], Any]) -> Any:  # noqa: ANN401
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return ask()
    except (EntryNotFoundError, ValueError, AttributeError):  # it is not there, or no JSON, or of another form
        return None
