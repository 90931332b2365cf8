"""What would end a start before the weights are loaded, and is not a part of the plan: files, folders, flags, ports.

A start, `--dry-run` and doctor all look at the same, so that each ends with the same exit code.
"""

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...engine.vllm_arguments import check_reserved_flags
from ...engine.vllm_flags import check_flags
from ...errors import MariTalkError, UsageError, WeightsError
from ...http.listener import listen
from ...models.atomic_install import is_installed
from ...models.tokenizer_files import check_tokenizer
from ...planning.memory_flags import read_flags
from ...planning.model_requirements import ModelRequirements
from ...settings import Settings
from ...weights.model_source import Source
from ..cluster.cluster_config import ClusterConfig, check_own
from .temporary_folder import check_temporary

_ALLOW_LONG = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MOST_RANK = 16
"""vLLM's own --max-lora-rank."""


def check_context(settings: Settings, need: ModelRequirements) -> None:
    """Raises UsageError for a context that is longer than the model's, which vLLM refuses."""
    wanted = settings.max_model_len
    limit = need.footprint.shape.context_limit if need.footprint else None
    allowed = os.environ.get(_ALLOW_LONG, "0").strip().lower() in ("1", "true")
    if (
        wanted is None
        or limit is None
        or wanted <= limit
        or allowed
        or "--hf-overrides" in read_flags(settings.engine_args)
    ):
        return
    raise UsageError(
        f"--max-model-len {wanted} is more than the {limit} tokens that {need.title} can read.",
        f"Give {limit} or less, or leave it out.",
    )


def check_files(settings: Settings, source: Source) -> None:
    """The tokenizer of a model that is here, and files that flags for vLLM name. Raises WeightsError or UsageError."""
    check_reserved_flags(settings.engine_args)
    check_flags(settings.engine_args)
    given = read_flags(settings.engine_args)
    folder = Path(source.location)
    if "--skip-tokenizer-init" not in given and source.fetch is None and is_installed(folder):
        own = given.get("--tokenizer")
        if own is None:
            check_tokenizer(folder)
        elif Path(own).is_dir():
            check_tokenizer(Path(own))
        elif not _HUB_NAME.fullmatch(own):
            raise UsageError(f"--tokenizer {own} is no folder.", "Give the folder that holds the tokenizer.")
    template = given.get("--chat-template")
    # Anything with a brace or several lines is a template itself.
    if template is not None and not Path(template).is_file() and not re.search(r"[{}\n]", template):
        raise UsageError(f"--chat-template {template} is no file.", "Give the file that holds the template.")
    for adapter in _adapters(settings):
        _check_adapter(adapter, given)


def _adapters(settings: Settings) -> Iterator[str]:
    """The folders that --lora-modules names, as `name=folder` or as JSON."""
    words = iter(settings.engine_args)
    for word in words:
        if word.replace("_", "-") != "--lora-modules":
            continue
        for value in words:
            if value.startswith("-"):
                break
            try:
                parsed: Any = json.loads(value)
            except ValueError:
                parsed = None
            if isinstance(parsed, Mapping) and isinstance(parsed.get("path"), str):
                yield parsed["path"]
            elif "=" in value:
                yield value.partition("=")[2]


def _check_adapter(adapter: str, given: Mapping[str, str]) -> None:
    folder = Path(adapter).expanduser()
    if not folder.is_dir() and _HUB_NAME.fullmatch(adapter):
        return
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise WeightsError(
            f"{folder} holds no LoRA adapter: it has no adapter_config.json.", "Check the folder in --lora-modules."
        )
    try:
        rank = json.loads(file.read_bytes()).get("r")
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{file} cannot be read: {error}.", "Copy or download it again.") from error
    most = int(given["--max-lora-rank"]) if given.get("--max-lora-rank", "").isdecimal() else _MOST_RANK
    if isinstance(rank, int) and rank > most:
        raise UsageError(
            f"The LoRA adapter in {folder} has rank {rank}, and vLLM takes up to {most}.",
            f"Add -- --max-lora-rank {rank}.",
        )


def check_folders(settings: Settings, source: Source | None) -> None:
    """Where logs, models and sockets go. Raises UsageError, or WeightsError for the hub's own cache."""
    log = settings.engine_log
    # A full disk is no reason to refuse: what has to be written there before an answer reports it by itself.
    reasons = {each: _unwritable(each, even_if_full=True) for each in (settings.cache_dir, log.parent)}
    if log.is_dir():
        reasons[log] = os.strerror(errno.EISDIR)
    option = "--log-file" if settings.log_file else "--cache-dir"
    for place, reason in reasons.items():
        if reason:
            chosen = "--cache-dir" if place == settings.cache_dir else option
            raise UsageError(f"{place} cannot be written to: {reason}.", f"Choose another folder with {chosen}.")
    if source is not None and source.fetch is not None and source.profile is None:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
        if reason := _unwritable(cache):
            raise WeightsError(f"{cache} cannot be written to: {reason}.", "Choose another folder with HF_HOME.")
    check_temporary()


def _unwritable(folder: Path, *, even_if_full: bool = False) -> str:
    """Why nothing can be made in this folder, or it itself; empty where it can. Nothing is left behind."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        Path(tempfile.mkdtemp(prefix=".maritalk-", dir=folder)).rmdir()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return "" if full and even_if_full else str(error.strerror)
    return ""


def check_ports(settings: Settings) -> None:
    """Whether this machine can listen, for clients and for other nodes. Raises PortError or UsageError."""
    group = ClusterConfig.of(settings)
    if group is not None and group.leads and check_own(group):
        check_line(group)
    listen(settings.host, settings.port).close()


def check_line(group: ClusterConfig) -> None:
    """Whether node 0 can listen for the others. Raises PortError."""
    try:
        listen(group.head, group.line_port).close()
    except MariTalkError as error:
        error.hint = "Choose another with --head ADDRESS:PORT, of which it is the next."
        raise
