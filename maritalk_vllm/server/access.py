"""Who may ask what, around whatever answers: vLLM's application, or the gate while it loads."""

import ssl
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import UsageError
from ..settings import Settings, TimeUnit
from .keys import ApiKeys, digest
from .state import State

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .tally import Tally

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The door's rules, as one process tells them to another: keys by their digests alone."""

    digests: tuple[str, ...] = ()
    key_file: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    open_status: bool = False
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_body_bytes: int = 16_000_000
    logged: bool = True
    traced: bool = False
    root_path: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the user set them. Raises UsageError for a file that cannot be used."""
        access = cls(
            ssl_certfile=_text(settings.ssl_certfile),
            ssl_keyfile=_text(settings.ssl_keyfile),
            digests=tuple(map(digest, settings.api_key)),
            key_file=_text(settings.api_key_file),
            open_status=settings.open_status,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            max_body_bytes=settings.max_body_mb * 1_000_000,
            logged=not settings.no_access_log,
            traced=settings.otlp_traces_endpoint is not None,
            root_path=settings.engine_arg("--root-path") or "",
        )
        access._keys()
        access._check_certificate()
        return access

    def warning(self, host: str) -> str:
        """What the user should know who listens on `host`; nothing where nobody else can come in."""
        if self.digests or self.key_file is not None or host in _LOOPBACK:
            return ""
        return "whoever reaches this port may use the model. Set --api-key, or listen on --host 127.0.0.1."

    def admitting(self, key: str) -> Self:
        """The same, with one more key, where there are keys at all."""
        if not self.digests and self.key_file is None:
            return self
        return replace(self, digests=(*self.digests, digest(key)))

    @property
    def ssl(self) -> dict[str, str]:
        """What a server is told to speak HTTPS; nothing where it does not."""
        if self.ssl_certfile is None or self.ssl_keyfile is None:
            return {}
        return {"ssl_certfile": self.ssl_certfile, "ssl_keyfile": self.ssl_keyfile}

    def around(
        self, app: "ASGIApp", state: State, time_unit: TimeUnit, tally: "Tally", *, page: bool = True
    ) -> "ASGIApp":
        """The page comes first; each request has a number; probes need no key; bodies are read for who came in."""
        # Only those who serve need what a web application needs: a plan comes without.
        from ..playground.page import Page
        from .bodies import Bodies
        from .door import Door
        from .probes import Probes
        from .quotas import Quotas
        from .requests import Requests
        from .root_path import RootPath

        inside = Quotas(Bodies(app, self.max_body_bytes), self.requests_per_minute, self.tokens_per_minute)
        door = Door(inside, self._keys(), open_status=self.open_status)
        # Its files are outside: forty of them, each time that somebody looks at it, are no requests to tell of.
        requests = Requests(Probes(door, state), tally, logged=self.logged, traced=self.traced)
        return RootPath(Page(requests, time_unit) if page else requests, self.root_path)

    def to_message(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def _check_certificate(self) -> None:
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise UsageError("--ssl-certfile and --ssl-keyfile belong together.", "Give both or neither.")
        for file in filter(None, (self.ssl_certfile, self.ssl_keyfile)):
            try:
                Path(file).read_bytes()
            except OSError as error:
                raise UsageError(
                    f"The certificate cannot be used: {file} cannot be read: {error.strerror}.",
                    "Check --ssl-certfile and --ssl-keyfile.",
                ) from error
        if self.ssl_certfile is not None:
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
            except OSError as error:
                raise UsageError(
                    f"The certificate cannot be used: {error}.", "Check --ssl-certfile and --ssl-keyfile."
                ) from error

    def _keys(self) -> ApiKeys:
        return ApiKeys(self.digests, Path(self.key_file) if self.key_file else None)


def _text(path: Path | None) -> str | None:
    return str(path) if path else None
