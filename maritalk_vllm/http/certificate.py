"""The certificate that the server shows: read from its files once, checked as a pair, and exchanged as a whole."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import UsageError

_HINT = "Check --ssl-certfile and --ssl-keyfile."


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its chain and its private key, both in PEM: what is here needs no file any more."""

    chain: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, certfile: Path, keyfile: Path) -> Self:
        """The pair in these files. Raises UsageError for one that no connection could be made with."""
        pair = cls(_text(certfile), _text(keyfile))
        pair.context()
        return pair

    def context(self) -> ssl.SSLContext:
        """A new context that shows this certificate. Raises UsageError if the two do not belong together."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            with _in_memory(self.chain) as chain, _in_memory(self.key) as key:
                # Without a password of its own, OpenSSL would ask for one at the terminal.
                context.load_cert_chain(chain, key, password="")
        except (OSError, ValueError) as error:
            raise UsageError(f"The certificate cannot be used: {error}.", _HINT) from error
        return context


class Identity:
    """What a listener shows of the server; each connection gets the certificate that holds when it is made."""

    def __init__(self, certificate: Certificate) -> None:
        """Raises UsageError for one that cannot be used."""
        self._certificate = certificate
        self._shown = certificate.context()
        self.context = certificate.context()
        """For the listener: it stays the same, and chooses what is shown at each handshake, also without SNI."""
        self.context.sni_callback = self._choose

    def take(self, certificate: Certificate) -> None:
        """Show this one from the next connection on. Raises UsageError, and changes nothing, if it cannot be used."""
        if certificate != self._certificate:
            # One context for each certificate: a context keeps the pairs of other kinds of keys that it had before.
            self._shown = certificate.context()
            self._certificate = certificate

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ANN401
        connection.context = self._shown


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """The name of a file that is on no disk: OpenSSL reads certificates from files alone."""
    with os.fdopen(os.memfd_create("pem"), "w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _text(file: Path) -> str:
    try:
        # PEM is ASCII; what else such a file holds, as the names of a chain's parts, is no part of the certificate.
        return file.read_text(encoding="latin-1")
    except OSError as error:
        raise UsageError(f"The certificate cannot be used: {file} cannot be read: {error.strerror}.", _HINT) from error
