"""The settings of the middleware: who may use the server, and how much."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ...errors import UsageError
from ...http.certificate import Certificate, Identity
from ...settings import Settings
from .api_keys import ApiKeys, Key, hash_key, read_key_file, weakness
from .host_names import host_names, origins, plain

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
    batch_tokens_per_minute: int | None = None
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

    @property
    def requires_key(self) -> bool:
        """Whether requests need an API key."""
        return bool(self.digests) or self.file_keys is not None

    def with_limits(self, settings: Settings) -> Self:
        """Return a copy with the limits of `settings`."""
        return replace(self, **_limits_of(settings))

    def warning(self, host: str) -> str:
        """Return a warning that anyone can use a server that listens on `host`; empty if that is not the case."""
        if self.requires_key or host in _LOOPBACK:
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

    def accepts(self, digest: str) -> bool:
        """Whether the key of a digest is valid still. An empty digest is of a time without keys, which is no reason."""
        if not digest or not self.requires_key:
            return True
        return digest in self.digests or digest in (self.file_keys or ()) or digest == self.own

    def without_keys(self) -> Self:
        """Return a copy without the keys and the certificate, which are replaced without rebuilding the middleware."""
        return replace(self, digests=(), file_keys=None, own="", certificate=None)


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
        "batch_tokens_per_minute": settings.batch_tokens_per_minute,
        "answers_per_key": settings.answers_per_key,
        "max_body_bytes": settings.max_body_mb * 1_000_000,
        "logged": not settings.no_access_log,
    }
