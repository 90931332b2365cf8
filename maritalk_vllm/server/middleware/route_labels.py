"""Map request paths to route labels, whose number is bounded for any requests."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Mount, compile_path

from ...api.openai_adapter import normalize_path

OWN = ("/", "/generate", "/chat/generate", "/api/chat/inference", "/api/chat/models")
"""The routes of the MariTalk Local and the cloud API, which the loading app serves too."""

VLLM_ROUTES = {
    *("/v1/models", "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/completions", "/v1/responses"),
    *("/v1/messages", "/v1/messages/count_tokens", "/tokenize", "/detokenize", "/version"),
    *("/metrics", "/health", "/docs", "/static", "/openapi.json"),
}
"""The routes of vLLM that the server offers. The others are for operators of vLLM: they stop, scale and change the
engine, or generate without the accounting of requests."""

_VLLM_PACKAGES = ("vllm", "model_hosting_container_standards")
"""Packages whose routes are offered only if listed above. The routes of other plugins stay: the user chose them."""

OTHER = "other"


def is_offered(route: BaseRoute) -> bool:
    """Return whether a route of vLLM's application is kept."""
    if getattr(route, "path", "") in VLLM_ROUTES:
        return True
    return not _is_from_vllm(route)


def _is_from_vllm(route: BaseRoute) -> bool:
    """Return whether a route may be vLLM's own. For a mounted application, its routes decide, or else its class."""
    app = getattr(route, "app", None) if isinstance(route, Mount) else getattr(route, "endpoint", None)
    if isinstance(route, Mount) and (inner := getattr(app, "routes", None)) is not None:
        return not inner or any(map(_is_from_vllm, inner))
    return str(getattr(app, "__module__", "vllm")).partition(".")[0] in _VLLM_PACKAGES


class RouteLabels:
    """The route labels of an application: the templates of its routes, such as `/of/a/plugin/{number}`."""

    def __init__(self, templates: Iterable[str]) -> None:
        all_templates = {*templates, *OWN}
        self._static = {each for each in all_templates if "{" not in each}
        self._patterns = [(compile_path(each)[0], each) for each in sorted(all_templates - self._static)]

    def label_of(self, path: str) -> str:
        """Return the template that matches `path`, `/v1/...` for Maritaca's `/api/...`; `other` if none does."""
        if path in self._static:
            return path
        if (normalized := normalize_path(path)) and (path := str(normalized["path"])) in self._static:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), OTHER)
