"""Where the clients of API processes that stop listening continue: at the next engine, or at the loading server."""

from collections.abc import Callable

from ..loading.loading_server import LoadingServer
from .api_processes import ApiProcesses
from .process_messages import TransferredConnection


class ConnectionRelay:
    """Passes the port and the connections of one engine's API processes on."""

    def __init__(self, loading_server: LoadingServer, on_leaving: Callable[[], object]) -> None:
        """`on_leaving` is called when `loading_server` takes over."""
        self._loading_server = loading_server
        self._on_leaving = on_leaving
        self.successor: ApiProcesses | None = None
        """The API processes of the engine that has taken over, if one has."""

    def leave_port(self) -> None:
        """Have the loading server answer, unless a successor does: no API process of this engine listens any more."""
        if self.successor is None:
            self._on_leaving()
            self._loading_server.try_to_start()

    def pass_on(self, connection: TransferredConnection, *, are_leaving: bool) -> None:
        """Have a connection continued, or close it.

        `are_leaving`: whether all API processes of this engine leave. While one of them accepts connections, the
        supervisor has nothing to answer with.
        """
        if self.successor is not None and self.successor.adopt(connection):
            return
        if are_leaving and self._loading_server.try_to_start():
            self._loading_server.adopt(connection.socket.number, connection.read, is_used=connection.is_used)
        else:
            connection.socket.close()
