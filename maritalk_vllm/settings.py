"""All options: name, default, help and limits. Flags, environment variables and file keys are derived from them."""

import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from .i18n.message import msg

APP_NAME = "maritalk-vllm"

PREFIX = "MARITALK_"
"""Prefix of the environment variables of options."""


class Device(StrEnum):
    """Where the model runs."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"


class TimeUnit(StrEnum):
    """Unit of the three times in a response: integer milliseconds or float seconds."""

    MILLISECONDS = "ms"
    SECONDS = "s"


class DistributedBackend(StrEnum):
    """Starter of the workers of other nodes: vLLM itself, or Ray."""

    MP = "mp"
    RAY = "ray"


class LogFormat(StrEnum):
    """Format of the log: text, or one JSON object per line."""

    TEXT = "text"
    JSON = "json"


_DURATION = re.compile(r"([1-9]\d{0,5})([smhd])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def duration_seconds(text: str) -> int:
    """Seconds of a time like `30d`, `12h`, `90m` or `45s`. Raises ValueError with a message for the user."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(msg("{text!r} is no time: write it as 30d, 12h or 90m.", text=text))
    return int(found[1]) * _UNIT_SECONDS[found[2]]


def option(default: Any, help: str, **extra: Any) -> Any:  # noqa: ANN401
    """A field of `Settings`. `extra`: `short` flag, `metavar`, `min` and `max`, `unit`, `secret`, `shown` default.

    `default` may be a function that computes it: one that depends on HOME is not fixed when this module is imported.
    """
    computed = {"default_factory": default} if callable(default) else {"default": default}
    return field(**computed, metadata={"help": help, **extra})


MARITALK_LOCAL_SERVICE = "https://functions.maritaca.ai"
"""Maritaca's service for the keys of MariTalk Local, which distributes its closed program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The user's options. Precedence: file < environment < flags."""

    license: str | None = option(
        None,
        "Your licence key, a signed licence, or the file that holds one. "
        "000000-00000-00000-00000 evaluates with the demo model. An open model "
        "(--model PATH or a Hugging Face name) needs none.",
        metavar="KEY",
        secret=True,
    )
    license_public_key: tuple[Path, ...] = option(
        (),
        "Public key that a signed licence is checked with; repeatable, for the time in which a key is changed.",
        metavar="FILE",
        shown=False,
    )
    license_service: str = option(
        MARITALK_LOCAL_SERVICE,
        "Service that a licence key is checked with, and weights come from.",
        metavar="URL",
    )
    cuda_version: str | None = option(
        None, "CUDA version to report to the licence service.", metavar="VERSION", shown="what the driver supports"
    )
    port: int = option(
        9000, "HTTP port to listen on; 0 takes a free one.", short="-p", metavar="PORT", min=0, max=65535
    )
    host: str = option("0.0.0.0", "Address to listen on.", metavar="ADDRESS")
    model: str | None = option(
        None,
        "What to serve: demo, small or medium, a folder with a checkpoint, an open model that `maritalk-vllm models` "
        "lists, or a Hugging Face name.",
        metavar="NAME|PATH|HF-ID",
        shown="what the licence entitles to",
    )
    device: Device = option(Device.AUTO, "Where to run: auto takes the GPUs if there are any.")
    tensor_parallel_size: int | None = option(
        None, "GPUs that share each layer of the model.", metavar="N", min=1, shown="the fewest that hold it"
    )
    pipeline_parallel_size: int | None = option(
        None,
        "Groups of GPUs that the layers are spread over.",
        metavar="N",
        min=1,
        shown="1, more where tensor parallelism alone does not fit",
    )
    replicas: str = option("1", "Copies of the model; auto makes as many as the GPUs hold.", metavar="N|auto")
    nodes: int = option(
        1,
        "Number of nodes to split the model across. Start every node with the same options except --node-rank.",
        metavar="N",
        min=1,
    )
    node_rank: int = option(0, "Number of this node, from 0; node 0 serves the API.", metavar="R", min=0)
    head: str | None = option(
        None,
        "Where the other nodes reach node 0, and the first of the group's two ports there.",
        metavar="ADDRESS[:PORT]",
        shown="none, port 29501",
    )
    nodes_secret_file: Path | None = option(
        None, "File with a secret that every node has to have to take part.", metavar="FILE"
    )
    distributed_backend: DistributedBackend = option(
        DistributedBackend.MP, "What starts the workers of the other nodes: vLLM's own mp, or ray."
    )
    max_model_len: int | None = option(
        None,
        "Longest prompt and answer together, in tokens: 8000, 8k (8,000), 8K (8,192), or auto.",
        metavar="N",
        unit="tokens_or_auto",
        shown="what the model and memory allow",
    )
    gpu_memory_utilization: float | None = option(
        None,
        "Fraction of each GPU's memory that vLLM may use.",
        metavar="F",
        min=0.01,
        max=1.0,
        shown="0.92, less where less is free",
    )
    interactive: bool = option(
        False, "Chat in this terminal once the server is ready; the end of the chat ends the server."
    )
    time_unit: TimeUnit = option(
        TimeUnit.MILLISECONDS,
        "Unit of queue_time, prompt_time and generation_time: ms gives whole milliseconds, s gives float seconds.",
    )
    api_key: tuple[str, ...] = option(
        (),
        "API key that requests must send, as `Authorization: Bearer KEY`; repeatable.",
        metavar="KEY",
        shown=False,
        secret=True,
    )
    api_key_file: Path | None = option(
        None, "File with such keys, one a line, which is read again when it changes.", metavar="FILE"
    )
    ssl_certfile: Path | None = option(
        None, "Certificate to serve HTTPS with; a renewed one is taken over.", metavar="FILE"
    )
    ssl_keyfile: Path | None = option(None, "The certificate's private key.", metavar="FILE")
    allowed_host: tuple[str, ...] = option(
        (),
        "Without API keys: a name, beside localhost and IP addresses, that the server is asked by, such as "
        "chat.example.org or *.example.org; repeatable.",
        metavar="NAME",
        shown=False,
    )
    open_status: bool = option(False, "Let `GET /` be asked without a key.")
    requests_per_minute: int | None = option(
        None, "Requests that each API key may make in a minute.", metavar="N", min=1, shown="no limit"
    )
    tokens_per_minute: int | None = option(
        None,
        "Tokens, of prompts and answers, that each API key may have in a minute.",
        metavar="N",
        unit="tokens",
        shown="no limit",
    )
    answers_per_key: int | None = option(
        None,
        "Answers that each API key may have in progress at once; n answers to a prompt count n times.",
        metavar="N",
        min=1,
        shown="half of what the server takes at once, where there are several keys",
    )
    max_body_mb: int = option(16, "Longest request, in MB (10^6 bytes).", metavar="N", min=1)
    drain_timeout: float = option(
        30.0, "Seconds for running requests to finish when the server is stopped.", metavar="S", min=0
    )
    start_timeout: float = option(
        3600.0,
        "Seconds that a start may take, from the import of vLLM to the first answer; a download and the wait for other "
        "nodes do not count.",
        metavar="S",
        min=1,
    )
    max_restarts: int = option(
        3, "How often in ten minutes the engine is started again after it has died.", metavar="N", min=0
    )
    resume_requests: bool = option(
        True,
        "Continue requests with the next engine when the engine has died; without, they end with an error.",
    )
    resume_timeout: float = option(
        600.0,
        "Seconds that requests wait for the next engine, or for a lost node, before they end with an error.",
        metavar="S",
        min=0,
    )
    engine_timeout: float | None = option(
        None,
        "Seconds without a step, with requests running, after which the engine counts as dead.",
        metavar="S",
        min=1,
        shown="60 to 300, by the longest step so far",
    )
    api_timeout: float = option(
        60.0,
        "Seconds without a sign of life of the API process, after which it is replaced with its engine.",
        metavar="S",
        min=1,
    )
    api_processes: str = option(
        "auto",
        "API processes that share the port; auto starts one for each replica on a host with many cores, else one.",
        metavar="N|auto",
    )
    cache_dir: Path = option(
        partial(platformdirs.user_cache_path, APP_NAME),
        "Folder for prepared models and logs.",
        metavar="FOLDER",
        shown="the user's cache folder",
    )
    data_dir: Path | None = option(
        None,
        "Folder for uploaded files and batches; each server has its own.",
        metavar="FOLDER",
        shown="in the user's state folder, one per port",
    )
    batch_retention: str = option(
        "30d",
        "How long files and batches are kept: 30d, 12h, 90m.",
        metavar="TIME",
        unit="duration",
    )
    files_per_key_mb: int | None = option(
        None,
        "Files that each API key may store, in MB (10^6 bytes): uploads and results of batches.",
        metavar="N",
        min=1,
        shown="no limit",
    )
    batch_tokens_per_minute: int | None = option(
        None,
        "Tokens that the batches of each API key may have in a minute; further lines wait.",
        metavar="N",
        unit="tokens",
        shown="no limit",
    )
    flex_timeout: float = option(
        300.0,
        "Seconds that a request with service_tier flex waits for a place before it is rejected.",
        metavar="S",
        min=0,
    )
    log_file: Path | None = option(
        None, "File for vLLM's own log.", metavar="FILE", shown="in the cache folder, one per port"
    )
    log_format: LogFormat = option(LogFormat.TEXT, "Form of the log: text, or one JSON object a line.")
    log_max_mb: int = option(
        100, "Size of the log file, in MB (10^6 bytes), at which it is rotated.", metavar="N", min=1
    )
    log_backups: int = option(3, "Older log files that are kept beside it.", metavar="N", min=0, max=1000)
    otlp_traces_endpoint: str | None = option(
        None, "Where OpenTelemetry traces are sent, such as http://collector:4318/v1/traces.", metavar="URL"
    )
    no_access_log: bool = option(False, "Write no line for each request into the log.")
    dry_run: bool = option(False, "Print the plan and stop: nothing is loaded.")
    debug: bool = option(False, "Show tracebacks.")
    engine_args: tuple[str, ...] = option((), "Flags for vLLM itself, after `--`.")

    @property
    def engine_log(self) -> Path:
        """File of vLLM's own log."""
        return self.log_file or self.cache_dir / "logs" / f"serve-{self.port}.log"

    @property
    def files_per_key_bytes(self) -> int | None:
        """The limit of a key's files in bytes; None without one."""
        return None if self.files_per_key_mb is None else self.files_per_key_mb * 10**6

    @property
    def batch_retention_seconds(self) -> int:
        """How long files and batches are kept."""
        return duration_seconds(self.batch_retention)

    def engine_arg(self, flag: str) -> str | None:
        """The user's value of a vLLM flag, given as `--flag value` or `--flag=value`."""
        for index, argument in enumerate(self.engine_args):
            name, _, value = argument.partition("=")
            if name.replace("_", "-") == flag:
                return value or next(iter(self.engine_args[index + 1 :]), None)
        return None


OPTIONS = {f.name: f for f in fields(Settings)}
"""Each option's field, by name."""


def flag(name: str) -> str:
    """The long flag of an option: `max_model_len` -> `--max-model-len`."""
    return "--" + name.replace("_", "-")


def environment_variable(name: str) -> str:
    """The environment variable of an option: `max_model_len` -> `MARITALK_MAX_MODEL_LEN`."""
    return f"{PREFIX}{name.upper()}"
