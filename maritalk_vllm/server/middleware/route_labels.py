"""Which route a path belongs to: a bounded number of names for whatever clients ask for."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, compile_path

from ...api.openai_adapter import normalize_path

OWN = ("/", "/generate", "/chat/generate", "/api/chat/inference", "/api/chat/models")
"""Those of MariTalk Local and of its cloud, which the gate knows too."""

OF_VLLM = {
    *("/v1/models", "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/completions", "/v1/responses"),
    *("/v1/messages", "/v1/messages/count_tokens", "/tokenize", "/detokenize", "/version"),
    *("/metrics", "/health", "/docs", "/static", "/openapi.json"),
}
"""Those of vLLM's that the server offers. Others are for vLLM's own operators: they stop, scale and change the engine,
or generate past what is known of a request here."""

_VLLMS_OWN = ("vllm", "model_hosting_container_standards")
"""The packages whose routes have to be named above; what a plugin adds, the user has chosen."""

OTHER = "other"


def is_offered(route: BaseRoute) -> bool:
    """Whether a route of vLLM's application stays in it."""
    if getattr(route, "path", "") in OF_VLLM:
        return True
    return not _is_vllms(route)


def _is_vllms(route: BaseRoute) -> bool:
    """Whether it may be vLLM's own. Of an application below a path, its routes say so, or else its class."""
    app = getattr(route, "app", None) if isinstance(route, Mount) else getattr(route, "endpoint", None)
    if isinstance(route, Mount) and (inner := getattr(app, "routes", None)) is not None:
        return not inner or any(map(_is_vllms, inner))
    return str(getattr(app, "__module__", "vllm")).partition(".")[0] in _VLLMS_OWN


class RouteLabels:
    """The routes of an application, by their templates: `/of/a/plugin/{number}`."""

    def __init__(self, templates: Iterable[str]) -> None:
        known = {*templates, *OWN}
        self._plain = {each for each in known if "{" not in each}
        self._patterns = [(compile_path(each)[0], each) for each in sorted(known - self._plain)]

    def of(self, path: str) -> str:
        """The template of this path, `/v1/...` for Maritaca's `/api/...`; `other` where there is none."""
        if path in self._plain:
            return path
        if (there := normalize_path(path)) and (path := str(there["path"])) in self._plain:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), OTHER)
