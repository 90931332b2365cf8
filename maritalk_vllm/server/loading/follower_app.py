"""The ASGI application of a follower: its own status, and a 503 that names the leader for everything else."""

from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from ...api.error_responses import error_response
from ...errors import Unavailable
from ..cluster.cluster_config import ClusterConfig
from ..status import server_metrics
from ..status.server_state import Phase, ServerState
from .loading_app import LoadingApp


class FollowerApp(LoadingApp):
    """Answers `GET /` with the node's rank and state, and every other request with an error that names the leader."""

    def __init__(self, registry: CollectorRegistry, group: ClusterConfig, state: ServerState, head_url: str) -> None:
        """`head_url`: the address at which the leader answers."""
        super().__init__(registry)
        self._registry = registry
        self._group = group
        self._state = state
        self._head_url = head_url
        self._not_leader = Unavailable(
            f"This is node {group.rank} of {group.nodes}, and node 0 answers for all.", f"Ask {head_url}."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        is_read = scope["method"] in ("GET", "HEAD")
        if is_read and scope["path"] == server_metrics.PATH:
            response = await server_metrics.response(self._registry)
        elif is_read and scope["path"] == "/":
            response = JSONResponse(self._status())
        else:
            response = error_response(scope["path"], self._not_leader)
        await response(scope, receive, send)

    def _status(self) -> dict[str, object]:
        # Clients of MariTalk Local retry while the status is `loading`.
        status = "loading" if self._state.phase is Phase.LOADING else self._state.phase.value
        return {"status": status, "node": self._group.rank, "nodes": self._group.nodes, "head": self._head_url}
