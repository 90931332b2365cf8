"""Checks before the weights are loaded that are not part of the plan: files, folders, flags and ports.

A start, `--dry-run` and doctor make the same checks, so that each exits with the same code. A port that is in use is
only noted by `--dry-run`, which serves nothing.
"""

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ... import extras
from ...engine.vllm_arguments import check_reserved_flags
from ...engine.vllm_flags import check_flags
from ...errors import PortError, UsageError, WeightsError
from ...http.listener import listen
from ...i18n.message import msg
from ...models.atomic_install import is_installed
from ...models.tokenizer_files import check_tokenizer
from ...planning.memory_flags import read_flags
from ...planning.model_requirements import ModelRequirements
from ...settings import Settings
from ...weights.model_source import Source
from ..cluster.cluster_config import ClusterConfig, check_head_is_local
from .flag_files import lora_folders
from .temporary_folder import check_temporary

_ALLOW_LONG_CONTEXT = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_DEFAULT_MAX_LORA_RANK = 16
"""vLLM's default for --max-lora-rank."""


def check_context(settings: Settings, requirements: ModelRequirements) -> None:
    """Raise UsageError for --max-model-len above the model's own context, which vLLM rejects."""
    length = settings.max_model_len
    limit = requirements.footprint.shape.context_limit if requirements.footprint else None
    allowed = os.environ.get(_ALLOW_LONG_CONTEXT, "0").strip().lower() in ("1", "true")
    if (
        length is None
        or limit is None
        or length <= limit
        or allowed
        or "--hf-overrides" in read_flags(settings.engine_args)
    ):
        return
    raise UsageError(
        msg(
            "--max-model-len {length} is more than the {limit} tokens that {title} can read.",
            length=length,
            limit=limit,
            title=requirements.title,
        ),
        msg("Give {number} or less, or leave it out.", number=limit),
    )


def check_chat(settings: Settings) -> None:
    """Raise UsageError for --interactive without the package that the chat needs at a terminal."""
    if settings.interactive:
        extras.require("prompt_toolkit", "--interactive")


def check_files(settings: Settings, source: Source) -> None:
    """Check the tokenizer of an installed model, and the files that flags for vLLM name.

    Raises WeightsError or UsageError.
    """
    check_reserved_flags(settings.engine_args)
    check_flags(settings.engine_args)
    given = read_flags(settings.engine_args)
    folder = Path(source.location)
    if "--skip-tokenizer-init" not in given and source.fetch is None and is_installed(folder):
        tokenizer = given.get("--tokenizer")
        if tokenizer is None:
            check_tokenizer(folder)
        elif Path(tokenizer).is_dir():
            check_tokenizer(Path(tokenizer))
        elif not _HUB_ID.fullmatch(tokenizer):
            raise UsageError(
                msg("--tokenizer {own} is no folder.", own=tokenizer), "Give the folder that holds the tokenizer."
            )
    template = given.get("--chat-template")
    # A value with a brace or a line break is the template itself.
    if template is not None and not Path(template).is_file() and not re.search(r"[{}\n]", template):
        raise UsageError(
            msg("--chat-template {template} is no file.", template=template), "Give the file that holds the template."
        )
    for adapter in lora_folders(settings.engine_args):
        _check_adapter(adapter, given)


def _check_adapter(adapter: str, given: Mapping[str, str]) -> None:
    folder = Path(adapter).expanduser()
    if not folder.is_dir() and _HUB_ID.fullmatch(adapter):
        return
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise WeightsError(
            msg("{folder} holds no LoRA adapter: it has no adapter_config.json.", folder=folder),
            "Check the folder in --lora-modules.",
        )
    try:
        rank = json.loads(file.read_bytes()).get("r")
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(
            msg("{target} cannot be read: {reason}.", target=file, reason=error), "Copy or download it again."
        ) from error
    limit = int(given["--max-lora-rank"]) if given.get("--max-lora-rank", "").isdecimal() else _DEFAULT_MAX_LORA_RANK
    if isinstance(rank, int) and rank > limit:
        raise UsageError(
            msg(
                "The LoRA adapter in {folder} has rank {rank}, and vLLM takes up to {limit}.",
                folder=folder,
                rank=rank,
                limit=limit,
            ),
            msg("Add -- --max-lora-rank {number}.", number=rank),
        )


def check_folders(settings: Settings, source: Source | None) -> None:
    """Check the folders for logs, models, batches and sockets.

    Raises UsageError, or WeightsError for the hub's cache.
    """
    log = settings.engine_log
    # A full disk passes: each write before the server is ready reports the error itself.
    folders = (settings.cache_dir, log.parent, *filter(None, [settings.data_dir]))
    reasons = {each: _why_unwritable(each, ignore_full=True) for each in folders}
    if log.is_dir():
        reasons[log] = os.strerror(errno.EISDIR)
    log_option = "--log-file" if settings.log_file else "--cache-dir"
    for path, reason in reasons.items():
        if reason:
            chosen = {settings.cache_dir: "--cache-dir", settings.data_dir: "--data-dir"}.get(path, log_option)
            raise UsageError(
                msg("{place} cannot be written to: {reason}.", place=path, reason=reason),
                msg("Choose another folder with {option}.", option=chosen),
            )
    if source is not None and source.fetch is not None and source.profile is None:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
        if reason := _why_unwritable(cache):
            raise WeightsError(
                msg("{place} cannot be written to: {reason}.", place=cache, reason=reason),
                "Choose another folder with HF_HOME.",
            )
    check_temporary()


def _why_unwritable(folder: Path, *, ignore_full: bool = False) -> str:
    """Return why nothing can be created in this folder, or the folder itself cannot; empty if it can.

    Leaves nothing behind. `ignore_full`: accept a full disk or an exhausted quota.
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        Path(tempfile.mkdtemp(prefix=".maritalk-", dir=folder)).rmdir()
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "" if is_full and ignore_full else str(error.strerror)
    return ""


def ports_in_use(settings: Settings) -> list[PortError]:
    """The errors of those ports for clients and, on the leader, for followers that are in use.

    Raises PortError if this node cannot listen on a port for another reason, or UsageError.
    """
    group = ClusterConfig.from_settings(settings)
    checks: list[Callable[[], object]] = []
    if group is not None and group.is_leader and check_head_is_local(group):
        checks.append(lambda: check_control_port(group))
    checks.append(lambda: listen(settings.host, settings.port).close())
    found = []
    for check in checks:
        try:
            check()
        except PortError as error:
            if not error.is_in_use:
                raise
            found.append(error)
    return found


def check_control_port(group: ClusterConfig) -> None:
    """Check that the leader can listen for followers. Raises PortError."""
    try:
        listen(group.head, group.control_port).close()
    except PortError as error:
        hint = "Choose another PORT with --head ADDRESS:PORT; the nodes use the port after it."
        raise PortError(error.message, hint, is_in_use=error.is_in_use) from error
