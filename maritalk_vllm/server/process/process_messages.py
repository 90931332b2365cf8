"""All messages between the processes of a server: for each direction of each channel, which may arrive.

Each process forks from the same program, but the fork server is executed again, and may find another version installed:
then its messages are errors.
"""

from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Self, TypeAlias

import msgspec

from ...engine.engine_address import EngineAddress
from ...settings import TimeUnit
from ...weights.fetch_request import FetchRequest
from ..messaging.base_message import Message
from ..messaging.direction import Direction
from ..messaging.error_report import ErrorReport
from ..messaging.text import Text, pack, unpack
from ..middleware.access_config import AccessConfig
from ..status.startup_timings import StartupTimings
from .descriptors import Descriptor, InheritedDescriptor
from .ipc_channel import Channel


class JobName(StrEnum):
    """Job of a forked process, as in its title and in messages for users."""

    PREPARE = "prepare"
    SERVE = "serve"
    RUN = "run"


class ServingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of an API process, and its parts that may change while it serves. Timeouts are in seconds.

    `file_problems`, `reloads` and `not_applied` are those of ServerState. `engine_timeout`: None derives it from the
    engine's steps.
    """

    access: AccessConfig
    file_problems: dict[str, str]
    reloads: int = 0
    not_applied: tuple[str, ...] = ()
    drain_timeout: float
    engine_timeout: float | None
    resume_timeout: float
    batch_retention: int
    files_per_key_bytes: int | None
    flex_timeout: float


# From the supervisor to the fork server: the job of the next forked process.


class Prepare(Message, frozen=True, kw_only=True):
    """Make the checkpoint of a profile in a folder."""

    name: ClassVar[JobName] = JobName.PREPARE
    profile: str
    folder: Path


class RunEngine(Message, frozen=True, kw_only=True):
    """Load the model and run its engine. `log`: vLLM's log, which explains errors. The port is not served.

    The listener is passed from process to process by inheritance alone. `api_processes`: how many serve the engine at
    once; `addresses`: for how many it has an address, which each of them, and each that replaces one, uses up.
    """

    name: ClassVar[JobName] = JobName.RUN
    engine_args: list[str]
    environment: dict[str, str]
    listener: InheritedDescriptor
    log: Path
    api_processes: int
    addresses: int


class Serve(Message, frozen=True, kw_only=True):
    """Serve the engine at an address on the listener's socket. The first fields are those of RunEngine.

    The control channel is new for each API process. `index` numbers the `api_processes` from 0; one that replaces
    another has its index. `shared_memory`: of all API processes (ApiSharedMemory); None if there is one alone.
    `data_dir`: the folder of files and batches, None for none. `waits`: the port is opened only on OpenPort.
    """

    name: ClassVar[JobName] = JobName.SERVE
    engine_args: list[str]
    environment: dict[str, str]
    listener: InheritedDescriptor
    engine: EngineAddress
    control_channel: Descriptor
    time_unit: TimeUnit
    is_demo: bool
    data_dir: Path | None
    timings: StartupTimings
    log: Path
    options: ServingOptions
    index: int = 0
    api_processes: int = 1
    shared_memory: Descriptor | None = None
    waits: bool = False


class RunFollower(Message, frozen=True, kw_only=True):
    """Load this node's part of the model and run its workers. The fields are as in RunEngine."""

    name: ClassVar[JobName] = JobName.RUN
    engine_args: list[str]
    environment: dict[str, str]
    listener: InheritedDescriptor
    log: Path


Job: TypeAlias = Prepare | RunEngine | Serve | RunFollower
JOBS: Direction[Job] = Direction(Job, "from the supervisor to the fork server")


# From the fork server, and from the processes that it forks, to the supervisor.


class Importing(Message, frozen=True):
    """The fork server imports vLLM."""


class Imported(Message, frozen=True):
    """The fork server is ready to fork."""


class Started(Message, frozen=True):
    """A process was forked, and begins its job. `index`: of an API process, as in Serve."""

    job: JobName
    pid: int
    index: int = 0


class Progress(Message, frozen=True):
    """The current step, and the fraction of it that is done, from 0 to 1; None if that is unknown."""

    step: str | Text
    fraction: float | None = None

    @classmethod
    def of(cls, step: str, fraction: float | None = None) -> Self:
        """Return the message about a step, which may be a message for users."""
        return cls(pack(step), fraction)

    @property
    def text(self) -> str:
        """The step, as it was given to `of`."""
        return unpack(self.step)


class EngineLaunched(Message, frozen=True):
    """The engine's processes run, and load the model; API processes can connect, one at each address."""

    addresses: list[EngineAddress]


class Loaded(Message, frozen=True):
    """The model is loaded."""


class EngineExited(Message, frozen=True):
    """A process of the engine has exited after the model was loaded. `how`: empty if that is unknown."""

    how: str | Text

    @classmethod
    def of(cls, how: str) -> Self:
        """Return the message about an exit, which may be a message for users."""
        return cls(pack(how))

    @property
    def text(self) -> str:
        """The description of the exit that `of` received."""
        return unpack(self.how)


class WarmingUp(Message, frozen=True):
    """The API process sends the first requests."""


class Ready(Message, frozen=True, kw_only=True):
    """The API process with this index serves the engine, or all workers of a follower run.

    In tokens, where vLLM says them: `kv_cache_tokens` of each replica, and the context that it serves.
    """

    index: int = 0
    kv_cache_tokens: int | None = None
    max_model_len: int | None = None


class EngineHangs(Message, frozen=True):
    """The engine makes no steps, and has to be killed with this error."""

    error: ErrorReport


class ApiHeartbeat(Message, frozen=True):
    """The event loop of the API process with this index runs."""

    index: int = 0


class Leaving(Message, frozen=True):
    """The API process with this index does not accept connections any more."""

    index: int = 0


class TransferredConnection(Message, frozen=True, kw_only=True):
    """A client's connection that the API process does not continue: no whole request has arrived on it.

    The supervisor passes it on to an API process of the next engine, if that serves already.

    `read`: the bytes that were read of one. `is_used`: there was a request before.
    """

    socket: Descriptor
    read: bytes
    is_used: bool


class UpdateLost(Message, frozen=True):
    """The API process with this index could not open the file of an UpdateOptions: it has to be sent again."""

    index: int = 0


class Failed(Message, frozen=True):
    """The sender ends because of this error."""

    error: ErrorReport


ToSupervisor: TypeAlias = (
    Importing
    | Imported
    | Started
    | Progress
    | EngineLaunched
    | Loaded
    | EngineExited
    | WarmingUp
    | Ready
    | EngineHangs
    | ApiHeartbeat
    | Leaving
    | TransferredConnection
    | UpdateLost
    | Failed
)
TO_SUPERVISOR: Direction[ToSupervisor] = Direction(ToSupervisor, "from the engine's processes to the supervisor")

ReportChannel: TypeAlias = Channel[Job, ToSupervisor]
"""The end of the fork server, which the processes that it forks inherit."""


# From the supervisor to an API process, over its control channel.


class UpdateOptions(Message, frozen=True):
    """Apply options, keys and a certificate that were reloaded."""

    options: ServingOptions


class EngineLost(Message, frozen=True):
    """The engine has died or was killed. `is_final`: end all requests with an error, and exit; else, keep them."""

    is_final: bool


class UseEngine(Message, frozen=True):
    """Connect to the next engine, which has loaded the model. `timings`: those of its start."""

    engine: EngineAddress
    timings: StartupTimings


class OpenPort(Message, frozen=True):
    """Accept connections: the engine takes over from another one."""


class Retire(Message, frozen=True):
    """Stop listening, finish the requests in flight within --drain-timeout, and exit: another engine follows.

    `is_succeeded`: that engine serves already, so that the server stays ready.
    """

    is_succeeded: bool


class AbortClient(Message, frozen=True):
    """Abort in the engine the requests of an API process that has died. `client`: as EngineAddress.client."""

    client: int


class AbortRequests(Message, frozen=True):
    """Answer all requests with this error, and end."""

    error: ErrorReport


Control: TypeAlias = (
    UpdateOptions
    | EngineLost
    | Progress
    | UseEngine
    | OpenPort
    | TransferredConnection
    | Retire
    | AbortClient
    | AbortRequests
)
CONTROL: Direction[Control] = Direction(Control, "from the supervisor to the API process")


# Between the supervisor and the download's process.


class Download(Message, frozen=True):
    """Download these weights. Its representation does not contain a licence."""

    fetch: FetchRequest


DOWNLOADS: Direction[Download] = Direction(Download, "from the supervisor to the download")

DownloadReport: TypeAlias = Progress | Failed
DOWNLOAD_REPORTS: Direction[DownloadReport] = Direction(DownloadReport, "from the download to the supervisor")
