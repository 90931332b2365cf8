"""Which route a path belongs to: a bounded number of names for whatever clients ask for."""

from collections.abc import Iterable

from starlette.routing import compile_path

from ..api.openai import moved

OWN = ("/", "/generate", "/chat/generate", "/api/chat/inference", "/api/chat/models")
"""Those of MariTalk Local and of its cloud, which the gate knows too."""

OTHER = "other"


class Routes:
    """The routes of an application, by their templates: `/v1/responses/{response_id}`."""

    def __init__(self, templates: Iterable[str]) -> None:
        known = {*templates, *OWN}
        self._plain = {each for each in known if "{" not in each}
        self._patterns = [(compile_path(each)[0], each) for each in sorted(known - self._plain)]

    def of(self, path: str) -> str:
        """The template of this path, `/v1/...` for Maritaca's `/api/...`; `other` where there is none."""
        if path in self._plain:
            return path
        if (there := moved(path)) and (path := str(there["path"])) in self._plain:
            return path
        return next((template for pattern, template in self._patterns if pattern.match(path)), OTHER)
