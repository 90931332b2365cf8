"""Redirect clients with a hard-coded address to our server, by an HTTPS proxy on the loopback interface.

Some clients have https://chat.maritaca.ai hard-coded, and https://functions.maritaca.ai for licences. They are tested
unmodified: their environment names a proxy, which terminates TLS for one host with a certificate of its own, and
forwards the data to our server.
"""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

CLOUD = "chat.maritaca.ai"
LICENSES = "functions.maritaca.ai"


def pass_on(client: ssl.SSLSocket, server: socket.socket) -> None:
    """Forward data in both directions until one side closes."""
    other = {client: server, server: client}
    while True:
        # select() does not see data that TLS has already decoded.
        ready = [client] if client.pending() else select.select(list(other), [], [])[0]
        for side in ready:
            data = side.recv(65536)
            if not data:
                return
            other[side].sendall(data)


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.host = host
        self.behind = ("127.0.0.1", port)
        self.context = context


class Tunnel(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.close_connection = True
        if self.path != f"{self.server.host}:443":
            self.send_error(HTTPStatus.FORBIDDEN, f"Only {self.server.host} is answered for here")
            return
        with socket.create_connection(self.server.behind) as server:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            # A client may disconnect before it has read the response.
            with (
                suppress(ConnectionError, ssl.SSLError),
                self.server.context.wrap_socket(self.connection, server_side=True) as client,
            ):
                pass_on(client, server)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def redirect(port: int, folder: Path, host: str = CLOUD) -> Iterator[dict[str, str]]:
    """Environment variables that redirect a client's requests for https://HOST to this port."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    certificate = folder / "authority.pem"
    authority.cert_pem.write_to_path(certificate)
    with Proxy(host, port, context) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield {
                "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}",
                "REQUESTS_CA_BUNDLE": str(certificate),  # requests
                "SSL_CERT_FILE": str(certificate),  # httpx
            }
        finally:
            proxy.shutdown()
            thread.join()
