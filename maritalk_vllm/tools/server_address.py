"""Address of a server, with its API key and TLS settings."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from ..errors import UsageError
from ..i18n.rendering import say


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """`ca_file` has the CA certificates to trust instead of the default ones; `verify` false disables verification."""

    url: str
    key: str | None = None
    ca_file: Path | None = None
    verify: bool = True

    def parsed_url(self) -> httpx.URL:
        """The parsed URL. Raises UsageError for an invalid one."""
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            message = say("{url} is no address of a server.", url=self.url)
            raise UsageError(message, say("Write it as http://localhost:9000."))
        return parsed

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        host = self.parsed_url().host
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def ssl_verify(self) -> ssl.SSLContext | bool:
        """The `verify` argument of httpx. Raises UsageError for a file that cannot be used."""
        if self.parsed_url().scheme == "http":
            return False  # nothing to verify, and loading the default CA certificates takes 0.1 s
        if self.ca_file is None:
            return self.verify
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            reason = error.strerror or error
            message = say("The certificates in {file} cannot be used: {reason}.", file=self.ca_file, reason=reason)
            raise UsageError(message, say("Give a file in PEM form.")) from error
