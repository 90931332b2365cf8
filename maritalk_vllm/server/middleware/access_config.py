"""Access settings and the middleware stack that applies them, around vLLM's application or the loading app."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from ...errors import UsageError
from ...http.certificate import Certificate, Identity
from ...settings import Settings, TimeUnit
from ..status.server_state import ServerState
from .api_keys import ApiKeys, Key, hash_key, read_key_file, weakness
from .host_names import host_names, origins, plain

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .request_metrics import RequestMetrics

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessConfig:
    """Authentication, TLS, host and limit settings of a server.

    The supervisor reads the files and sends the complete settings to the other processes.

    `digests`: digests of the keys given as options. `file_keys`: keys of the key file by digest, None without a key
    file. `own`: digest of the key of the server's own chat, empty without one.
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
    """Warnings about the keys, for the operator."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build from the user's settings, reading the files they name. Raises UsageError for an unusable file."""
        key_file = read_key_file(settings.api_key_file) if settings.api_key_file else None
        return cls(
            certificate=load_certificate(settings),
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

    def with_limits(self, settings: Settings) -> Self:
        """Return a copy with the limits of `settings`."""
        return replace(self, **_limits_of(settings))

    def warning(self, host: str) -> str:
        """Return a warning that anyone can use a server that listens on `host`; empty if that is not the case."""
        if self.digests or self.file_keys is not None or host in _LOOPBACK:
            return ""
        return (
            "no API key is set: anyone who can reach this port can use the model. Set --api-key, or listen on "
            "--host 127.0.0.1."
        )

    def with_extra_key(self, key: str) -> Self:
        """Return a copy that also accepts `key`, the key of the server's own chat, while keys are required."""
        return replace(self, own=hash_key(key))

    def identity(self) -> Identity | None:
        """Return the identity that a listener presents over HTTPS; None for HTTP."""
        return None if self.certificate is None else Identity(self.certificate)

    @property
    def keys(self) -> ApiKeys:
        """All valid keys."""
        return ApiKeys(self.digests, self.file_keys, self.own)

    def build_stack(
        self,
        app: "ASGIApp",
        state: ServerState,
        time_unit: TimeUnit,
        request_metrics: "RequestMetrics",
        *,
        page: bool = True,
        has_engine: bool = False,
        most_answers: int | None = None,
    ) -> "MiddlewareStack":
        """Wrap `app` in the middleware.

        The chat page is outermost, followed by the request log and the probes. Bodies are read after authentication.

        `has_engine`: `app` runs the engine. `most_answers`: how many answers the engine generates at once, over all
        keys.
        """
        # Imported late: only a server needs the web framework, a plan does not.
        from ...playground.page_middleware import Page
        from .allowed_hosts import AllowedHosts
        from .authentication import Authentication
        from .body_limits import BodyLimits
        from .key_scopes import KeyScopes
        from .probes import Probes
        from .rate_limit import RateLimits, Usage
        from .request_log import RequestLog
        from .root_path import RootPath

        keys, usage = self.keys, Usage(None, None)

        def build(access: AccessConfig) -> "ASGIApp":
            def answers_per_key() -> int | None:
                if access.answers_per_key is None and most_answers is not None and keys.are_several:
                    return max(1, most_answers // 2)
                return access.answers_per_key

            usage.set_limits(access.requests_per_minute, access.tokens_per_minute)
            body_limits = BodyLimits(app, access.max_body_bytes)
            rate_limits = RateLimits(body_limits, usage, answers_per_key, has_engine=has_engine)
            authentication = Authentication(KeyScopes(rate_limits), keys, open_status=access.open_status)
            hosts = AllowedHosts(authentication, keys, access.host, access.allowed_hosts, access.origins)
            request_log = RequestLog(Probes(hosts, state), request_metrics, logged=access.logged, traced=access.traced)
            # The page is outside the request log: each view of it loads forty files, which are not logged.
            outermost = Page(request_log, time_unit, lambda scope: hosts.error(scope) is None) if page else request_log
            return RootPath(outermost, access.root_path)

        return MiddlewareStack(self, keys, build)


class MiddlewareStack:
    """An application behind its middleware, whose settings can be replaced while it serves."""

    def __init__(self, access: AccessConfig, keys: ApiKeys, build: Callable[[AccessConfig], "ASGIApp"]) -> None:
        """`build` wraps the application for given settings; its authentication uses `keys`."""
        self._access = access
        self._keys = keys
        self._build = build
        self._app = build(access)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Handle one request with the current settings."""
        await self._app(scope, receive, send)

    def update(self, access: AccessConfig) -> None:
        """Apply `access` to all later requests. The recorded usage of the keys is kept."""
        self._keys.update(access.digests, access.file_keys, access.own)
        if _without_keys(access) != _without_keys(self._access):
            self._app = self._build(access)
        self._access = access


def load_certificate(settings: Settings) -> Certificate | None:
    """Read the certificate and key that the settings name; None if they name none. Raises UsageError."""
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


def _without_keys(access: AccessConfig) -> AccessConfig:
    """Return a copy without the fields that are replaced without rebuilding the application."""
    return replace(access, digests=(), file_keys=None, own="", certificate=None)
