"""An HTTP server on the loopback interface that answers with a test's own function, malformed responses included."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Request(BaseHTTPRequestHandler):
    """One request, which `server.answer` answers with the methods of the standard library's handler."""

    protocol_version = "HTTP/1.1"
    server: "Answering"

    def do_GET(self) -> None:
        self.server.requests.append(self)
        # The client may be killed before it has read the whole response.
        with suppress(ConnectionError):
            self.server.answer(self)

    def do_POST(self) -> None:
        self.content = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.do_GET()

    do_HEAD = do_GET

    def reply(self, status: int, body: bytes = b"", **headers: Any) -> None:
        """Send a whole response. Each keyword argument is a header: `content_type="text/html"`."""
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
    """Keeps every request in `requests`, and passes each to `answer`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], None], host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Request)
        self.answer = answer
        self.requests: list[Request] = []
        self.url = f"http://{host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback: some tests break connections on purpose."""


@contextmanager
def answering(answer: Callable[[Request], None], host: str = "127.0.0.1", port: int = 0) -> Iterator[Answering]:
    """Run an `Answering` server in a thread; port 0 is any free port."""
    with Answering(answer, host, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
