"""The server's TLS certificate: read from its files, checked against its key, and replaced as a pair."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import UsageError
from ..i18n.message import msg

_HINT = "Check --ssl-certfile and --ssl-keyfile."


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its private key, both as PEM text. The files are not needed after reading."""

    chain: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, certfile: Path, keyfile: Path) -> Self:
        """Read the pair from its files. Raises UsageError if no connection could be made with it."""
        pair = cls(_text(certfile), _text(keyfile))
        pair.context()
        return pair

    def context(self) -> ssl.SSLContext:
        """Create an SSL context for this certificate. Raises UsageError if certificate and key do not match."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            with _in_memory(self.chain) as chain, _in_memory(self.key) as key:
                # Without a password argument, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(chain, key, password="")
        except (OSError, ValueError) as error:
            raise UsageError(msg("The certificate cannot be used: {error}.", error=error), _HINT) from error
        return context


class Identity:
    """The certificate of a listener, which can be replaced: new connections get the current one."""

    def __init__(self, certificate: Certificate) -> None:
        """Raises UsageError for an unusable certificate."""
        self._certificate = certificate
        self._current = certificate.context()
        self.context = certificate.context()
        """The listener's context. It never changes, and selects the current one at each handshake, also without SNI."""
        self.context.sni_callback = self._select_current

    def update(self, certificate: Certificate) -> None:
        """Use `certificate` for new connections. Raises UsageError, and changes nothing, if it is unusable."""
        if certificate != self._certificate:
            # A new context for each certificate: a context keeps previously loaded pairs with other key types.
            self._current = certificate.context()
            self._certificate = certificate

    def _select_current(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ANN401
        connection.context = self._current


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Yield the path of an in-memory file: OpenSSL reads certificates only from files."""
    with os.fdopen(os.memfd_create("pem"), "w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _text(file: Path) -> str:
    try:
        # PEM is ASCII. Other text in the file, such as the names of a chain's certificates, is ignored.
        return file.read_text(encoding="latin-1")
    except OSError as error:
        raise UsageError(
            msg("The certificate cannot be used: {file} cannot be read: {reason}.", file=file, reason=error.strerror),
            _HINT,
        ) from error
