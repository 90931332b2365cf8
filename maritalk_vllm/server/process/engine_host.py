"""What all engines of a server have in common."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from ..loading.loading_server import LoadingServer
from ..startup.console import Console
from ..status.server_state import ServerState
from .log_file import LogFile


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHost:
    """The parts of the supervisor that each EngineManager uses. `fork_server_command` starts its fork server."""

    listener: socket.socket
    loading_server: LoadingServer
    console: Console
    state: ServerState
    log: LogFile
    fork_server_command: Sequence[str]
