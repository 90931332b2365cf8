"""The rules for requests, around the application that answers: vLLM's, or the gate while the model loads."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ...errors import UsageError
from ...http.certificate import Certificate, Identity
from ...settings import Settings, TimeUnit
from ..status.server_state import ServerState
from .api_keys import ApiKeys, Key, hash_key, read_key_file, weakness
from .host_names import host_names, origins, plain

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .rate_limit import Usage
    from .request_metrics import RequestMetrics

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessConfig:
    """The rules, which one process sends to another: whole, so that only the supervisor reads the files.

    `digests`: of the keys that were given as options; `file_keys`: those of a file by their digests, None where no file
    was named; `own`: the digest of the key of the server's own chat, if there is one.
    """

    digests: tuple[str, ...] = ()
    file_keys: Mapping[str, Key] | None = None
    own: str = ""
    certificate: Certificate | None = None
    open_status: bool = False
    host: str = ""
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    answers_per_key: int | None = None
    max_body_bytes: int = 16_000_000
    logged: bool = True
    traced: bool = False
    root_path: str = ""
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """About the keys, for the operator."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the user set them. Raises UsageError for a file that cannot be used."""
        key_file = read_key_file(settings.api_key_file) if settings.api_key_file else None
        return cls(
            certificate=certificate_of(settings),
            digests=tuple(map(hash_key, settings.api_key)),
            file_keys=key_file.keys if key_file else None,
            warnings=tuple(filter(None, (weakness(settings.api_key), *(key_file.warnings if key_file else ())))),
            host=plain(settings.host),
            allowed_hosts=host_names(settings),
            origins=origins(settings),
            traced=settings.otlp_traces_endpoint is not None,
            root_path=settings.engine_arg("--root-path") or "",
            **_limits_of(settings),
        )

    def limited(self, settings: Settings) -> Self:
        """The same, with the limits of these settings."""
        return replace(self, **_limits_of(settings))

    def warning(self, host: str) -> str:
        """For the operator of a server that listens on `host`: anyone may use it; empty where that is not so."""
        if self.digests or self.file_keys is not None or host in _LOOPBACK:
            return ""
        return "whoever reaches this port may use the model. Set --api-key, or listen on --host 127.0.0.1."

    def admitting(self, key: str) -> Self:
        """The same, with the key of the server's own chat, for as long as keys are needed."""
        return replace(self, own=hash_key(key))

    def identity(self) -> Identity | None:
        """The identity that a listener shows by HTTPS; None for HTTP."""
        return None if self.certificate is None else Identity(self.certificate)

    @property
    def keys(self) -> ApiKeys:
        """All that are valid."""
        return ApiKeys(self.digests, self.file_keys, self.own)

    def around(
        self,
        app: "ASGIApp",
        state: ServerState,
        time_unit: TimeUnit,
        tally: "RequestMetrics",
        *,
        page: bool = True,
        has_engine: bool = False,
        most_answers: int | None = None,
    ) -> "Front":
        """The chat page is outermost, then the request log and the probes; a body is read after authentication.

        `has_engine`: `app` is that of the engine; `most_answers`: how many it takes at once, of all keys
        together.
        """
        from .rate_limit import Usage

        keys, usage = self.keys, Usage(None, None)

        def built(access: AccessConfig) -> "ASGIApp":
            usage.limit(access.requests_per_minute, access.tokens_per_minute)
            return access._built(
                app, keys, usage, state, time_unit, tally, page=page, has_engine=has_engine, most_answers=most_answers
            )

        return Front(self, keys, built)

    def _built(
        self,
        app: "ASGIApp",
        keys: ApiKeys,
        usage: "Usage",
        state: ServerState,
        time_unit: TimeUnit,
        tally: "RequestMetrics",
        *,
        page: bool,
        has_engine: bool,
        most_answers: int | None,
    ) -> "ASGIApp":
        # Only a server needs a web application: a plan does without.
        from ...playground.page_middleware import Page
        from .allowed_hosts import AllowedHosts
        from .authentication import Authentication
        from .body_limits import BodyLimits
        from .key_scopes import KeyScopes
        from .probes import Probes
        from .rate_limit import RateLimits
        from .request_log import RequestLog
        from .root_path import RootPath

        def answers() -> int | None:
            if self.answers_per_key is None and most_answers is not None and keys.are_several:
                return max(1, most_answers // 2)
            return self.answers_per_key

        bodies = BodyLimits(app, self.max_body_bytes)
        inside = RateLimits(bodies, usage, answers, has_engine=has_engine)
        door = Authentication(KeyScopes(inside), keys, open_status=self.open_status)
        hosts = AllowedHosts(door, keys, self.host, self.allowed_hosts, self.origins)
        # The page's files are outside: each view of it loads forty, which are not logged.
        requests = RequestLog(Probes(hosts, state), tally, logged=self.logged, traced=self.traced)
        front = Page(requests, time_unit, lambda scope: hosts.refused(scope) is None) if page else requests
        return RootPath(front, self.root_path)

    def to_message(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def of_message(cls, message: Mapping[str, Any]) -> Self:
        """The rules of which `to_message` of another process made the message."""
        pair = message["certificate"]
        tuples = {name: tuple(value) for name, value in message.items() if isinstance(value, list)}
        keys = message["file_keys"]
        return cls(
            **{
                **message,
                **tuples,
                "certificate": Certificate(**pair) if pair else None,
                "file_keys": None if keys is None else {found: Key(**key) for found, key in keys.items()},
            }
        )


class Front:
    """An application behind the rules of an `Access`, for which others can be exchanged while it serves."""

    def __init__(self, access: AccessConfig, keys: ApiKeys, built: Callable[[AccessConfig], "ASGIApp"]) -> None:
        """`built` makes the application behind such rules, with these `keys` at its door."""
        self._access = access
        self._keys = keys
        self._built = built
        self._app = built(access)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass one request on."""
        await self._app(scope, receive, send)

    def take(self, access: AccessConfig) -> None:
        """These rules hold for requests that come from now on. The usage of the keys stays."""
        self._keys.take(access.digests, access.file_keys, access.own)
        if _limits(access) != _limits(self._access):
            self._app = self._built(access)
        self._access = access


def certificate_of(settings: Settings) -> Certificate | None:
    """The pair that the settings name, None where they name none. Raises UsageError for one that cannot be used."""
    if (settings.ssl_certfile is None) != (settings.ssl_keyfile is None):
        raise UsageError("--ssl-certfile and --ssl-keyfile belong together.", "Give both or neither.")
    if settings.ssl_certfile is None or settings.ssl_keyfile is None:
        return None
    return Certificate.read(settings.ssl_certfile, settings.ssl_keyfile)


def _limits_of(settings: Settings) -> dict[str, Any]:
    return {
        "open_status": settings.open_status,
        "requests_per_minute": settings.requests_per_minute,
        "tokens_per_minute": settings.tokens_per_minute,
        "answers_per_key": settings.answers_per_key,
        "max_body_bytes": settings.max_body_mb * 1_000_000,
        "logged": not settings.no_access_log,
    }


def _limits(access: AccessConfig) -> AccessConfig:
    """All of it but the fields that are exchanged without a new application."""
    return replace(access, digests=(), file_keys=None, own="", certificate=None)
