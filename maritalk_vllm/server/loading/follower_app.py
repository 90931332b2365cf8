"""What the port of a node answers that is not node 0: how it is, and where to ask."""

from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse

from ...api.disconnect import Receive
from ...api.error_responses import error_response
from ...errors import Unavailable
from ..cluster.cluster_config import ClusterConfig
from ..status import server_metrics
from ..status.server_state import Phase, ServerState
from .loading_app import LoadingApp, Scope, Send


class FollowerApp(LoadingApp):
    """A gate that never opens. `GET /` says which node this is; every other request is sent to node 0."""

    def __init__(self, registry: CollectorRegistry, group: ClusterConfig, state: ServerState, head_url: str) -> None:
        """`head_url`: where node 0 answers."""
        super().__init__(registry)
        self._registry = registry
        self._group = group
        self._state = state
        self._head_url = head_url
        self._elsewhere = Unavailable(
            f"This is node {group.rank} of {group.nodes}, and node 0 answers for all.", f"Ask {head_url}."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        reading = scope["method"] in ("GET", "HEAD")
        if reading and scope["path"] == server_metrics.PATH:
            answer = server_metrics.response(self._registry)
        elif reading and scope["path"] == "/":
            answer = JSONResponse(self._told())
        else:
            answer = error_response(scope["path"], self._elsewhere)
        await answer(scope, receive, send)

    def _told(self) -> dict[str, object]:
        # What a client of MariTalk Local takes for an answer that is worth asking again for.
        status = "loading" if self._state.phase is Phase.LOADING else self._state.phase.value
        return {"status": status, "node": self._group.rank, "nodes": self._group.nodes, "head": self._head_url}
