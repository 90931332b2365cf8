"""A server on the loopback that answers as a test says: also as no good server would."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Request(BaseHTTPRequestHandler):
    """One request; what it is asked, `server.answer` answers with the methods of the standard library's handler."""

    protocol_version = "HTTP/1.1"
    server: "Answering"

    def do_GET(self) -> None:
        self.server.requests.append(self)
        # A client may be killed in the midst of an answer.
        with suppress(ConnectionError):
            self.server.answer(self)

    def do_POST(self) -> None:
        self.content = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.do_GET()

    do_HEAD = do_GET

    def reply(self, status: int, body: bytes = b"", **headers: Any) -> None:
        """A whole answer; `content_type="text/html"` is a header, and so is each other name."""
        self.begin(status, **{"content_length": len(body), **headers})
        self.wfile.write(body)

    def begin(self, status: int, **headers: Any) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Answering(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], None], host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Request)
        self.answer = answer
        self.requests: list[Request] = []
        self.url = f"http://{host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke in the midst is what some tests are about."""


@contextmanager
def answering(answer: Callable[[Request], None], host: str = "127.0.0.1", port: int = 0) -> Iterator[Answering]:
    with Answering(answer, host, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
