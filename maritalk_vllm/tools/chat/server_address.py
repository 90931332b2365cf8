"""Where a server is, and how it is asked."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from ...errors import UsageError
from ...language import say


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """`authorities` is a file with the certificates that are trusted instead of the usual ones.

    `verified` false: whoever answers there is trusted.
    """

    url: str
    key: str | None = None
    authorities: Path | None = None
    verified: bool = True

    def checked(self) -> httpx.URL:
        """The address. Raises UsageError for what is none."""
        try:
            parsed = httpx.URL(self.url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            told = say("{url} is no address of a server.", url=self.url)
            raise UsageError(told, say("Write it as http://localhost:9000."))
        return parsed

    @property
    def is_here(self) -> bool:
        """Whether it is this machine's own."""
        host = self.checked().host
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def trusted(self) -> ssl.SSLContext | bool:
        """Whom to trust, as httpx takes it. Raises UsageError for a file that cannot be used."""
        if self.checked().scheme == "http":
            return False  # there is nobody to trust, and to read all authorities takes a tenth of a second
        if self.authorities is None:
            return self.verified
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as error:
            reason = error.strerror or error
            told = say("The certificates in {file} cannot be used: {reason}.", file=self.authorities, reason=reason)
            raise UsageError(told, say("Give a file in PEM form.")) from error
