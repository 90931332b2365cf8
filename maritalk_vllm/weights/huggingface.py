"""Models of the Hugging Face hub, in its own cache. HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are respected."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import UsageError, WeightsError
from ..i18n.message import msg
from ..licensing.http_address import connection_failure
from ..masking import masked
from ..models.atomic_install import check_space
from ..models.model_config import has_config
from ..models.weights_files import weights_files
from ..text_format import gigabytes
from . import huggingface_client
from .download_progress import Progress

_SHOWN = 100
"""How many characters of an invalid name an error repeats."""

_UNREACHABLE = ("ConnectError", "ConnectTimeout")
"""Errors of the HTTP client before any request is sent."""

_PICKLES = ("*.bin", "*.pt", "*.pth")
_NEVER = ["*.msgpack", "*.h5", "*.onnx*", "*.gguf", "*.ot", "*.tflite", "original/*", "onnx/*", "openvino/*"]


def check_name(name: str) -> None:
    """Raises UsageError for a name that is not a valid Hugging Face model name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UsageError(
            msg(
                "There is no model {name}: no folder has this name, and no model of Hugging Face can have it.",
                name=name[:_SHOWN],
            ),
            "A name there is OWNER/MODEL, of at most 96 letters, digits, `-`, `_` and `.`.",
        ) from error


def snapshot(name: str, revision: str | None = None) -> Path | None:
    """The folder in the cache that holds the complete model; None if a file is missing. Does not use the network."""
    from huggingface_hub import snapshot_download

    ignored = [*_NEVER, *_PICKLES]
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, ignore_patterns=ignored))
        # Other programs leave no list of the expected files, but the index of the weights is one.
        weights = weights_files(folder).files
    except (OSError, WeightsError):  # a download will report why the files cannot be read
        return None
    return folder if weights and has_config(folder) else None


def reference(snapshot: Path, revision: str | None = None) -> Path:
    """The file of the cache with the commit of this branch or tag, which a download of a newer snapshot replaces.

    A revision that is a commit has no such file. Source: huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    return snapshot.parent.parent / "refs" / (revision or "main")


def fetch(name: str, revision: str | None, progress: Progress) -> None:
    """Download the model into the cache, which keeps the files that it already has. Raises WeightsError.

    Pickles are downloaded only if there are no weights in safetensors.
    """
    from huggingface_hub import constants, snapshot_download

    cache, arrived = Path(constants.HF_HUB_CACHE), 0

    def counted(step: str, done: int, total: int | None) -> None:
        nonlocal arrived
        arrived = max(arrived, done)
        progress(step, done, total)

    ignored = list(_NEVER)
    huggingface_client.limit_responses()
    try:
        progress(msg("Looking for {name}", name=name), 0, None)
        bar = _bar(msg("Looking for {name}", name=name), 0, lambda *_: None, name)
        files = snapshot_download(name, revision=revision, dry_run=True, ignore_patterns=ignored, tqdm_class=bar)
        if any(file.filename.endswith(".safetensors") for file in files):
            ignored += _PICKLES
            files = snapshot_download(name, revision=revision, dry_run=True, ignore_patterns=ignored, tqdm_class=bar)
        needed = sum(file.file_size or 0 for file in files if file.will_download)
        cache.mkdir(parents=True, exist_ok=True)
        check_space(cache, needed, name)
        bar = _bar(msg("Downloading {what}", what=name), needed, counted, name)
        huggingface_client.limit_responses(needed)
        snapshot_download(name, revision=revision, ignore_patterns=ignored, tqdm_class=bar)
    except WeightsError:
        raise
    except Exception as error:
        if not huggingface_client.is_hub_error(error):
            raise
        raise explain(error, name, is_partly_here=arrived > 0) from error


def _bar(step: str, total: int, progress: Progress, model: str) -> Any:  # noqa: ANN401
    """A progress bar class for huggingface_hub that calls `progress`, and raises WeightsError after `total` bytes.

    huggingface_hub updates the bar before it writes the bytes.
    """
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments: Any, name: str = "", **options: Any) -> None:  # noqa: ANN401
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]
            self._counts = options.get("unit") == "B"
            # Received bytes may be compressed or fetched twice; written bytes are those of the file.
            self._is_bounded = self._counts and not name.endswith(".transfer")
            self._done = 0

        def update(self, n: float | None = 1) -> None:
            # There may be one bar for received and one for written bytes: they count the same bytes at different times.
            if self._counts:
                self._done += int(n or 0)
                if self._is_bounded and self._done > total:
                    raise WeightsError(
                        msg(
                            "{model} should have {size} to download, and Hugging Face sends more.",
                            model=model,
                            size=gigabytes(total),
                        ),
                        "Check HF_ENDPOINT, or give the folder that holds the model: --model PATH.",
                    )
                progress(step, min(self._done, total), total)

    return Bar


def explain(error: Exception, name: str, *, is_partly_here: bool = False) -> WeightsError:
    """Explain an error of huggingface_hub in a sentence. `is_partly_here`: a part of the model has been downloaded."""
    from huggingface_hub import constants, errors

    causes = [error]
    while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
        causes.append(cause)

    def is_a(*kinds: type[Exception]) -> bool:
        return any(isinstance(each, kinds) for each in causes)

    if is_a(errors.OfflineModeIsEnabled):
        return WeightsError(
            msg("{name} is not whole on this machine, and HF_HUB_OFFLINE forbids to download it.", name=name),
            "Unset HF_HUB_OFFLINE, or give the folder that holds the model: --model PATH.",
        )
    if is_a(errors.GatedRepoError):
        return WeightsError(
            msg("{name} is a gated model of Hugging Face.", name=name),
            "Accept its terms on its page there, and set HF_TOKEN.",
        )
    if is_a(errors.RevisionNotFoundError):
        return WeightsError(msg("{name} has no such revision on Hugging Face.", name=name), "Check --revision.")
    if is_a(errors.RepositoryNotFoundError):
        return WeightsError(
            msg("Hugging Face knows no model {name}, or not for you.", name=name),
            "Check the name; a private model needs HF_TOKEN.",
        )
    # Addresses in the error may be signed.
    reason: str = masked(" ".join(str(causes[-1]).split()))[:200] or type(causes[-1]).__name__
    hint = "Run it again, or give a folder: --model PATH."
    # By name: of httpx or httpx2, by the library's version.
    if unreachable := next((each for each in causes if type(each).__name__ in _UNREACHABLE), None):
        host = urlsplit(constants.ENDPOINT).hostname or masked(constants.ENDPOINT)
        reason = msg("{host} cannot be reached ({error})", host=host, error=connection_failure(unreachable))
        hint = "Check the network, or give the folder that holds the model: --model PATH."
    if is_partly_here:
        hint = "The downloaded part is kept. Run it again to resume, or give a folder: --model PATH."
    return WeightsError(msg("{name} cannot be downloaded from Hugging Face: {reason}.", name=name, reason=reason), hint)
