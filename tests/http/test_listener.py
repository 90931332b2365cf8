"""The listening socket and its URLs."""

import errno
import select
import socket

import pytest

from maritalk_vllm.errors import PortError
from maritalk_vllm.http.listener import drop_new_connections, has_waiting, listen, local_url, url


@pytest.mark.parametrize(("host", "shown", "reached"), [("0.0.0.0", "0.0.0.0", "127.0.0.1"), ("::1", "[::1]", "[::1]")])
def test_addresses(host: str, shown: str, reached: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert url(listener) == f"http://{shown}:{port}"
        assert local_url(listener) == f"http://{reached}:{port}"


def test_a_host_name_that_is_too_long_is_an_error() -> None:
    with pytest.raises(PortError, match=r"There is no address a+ to listen on: "):
        listen("a" * 70, 0)


def test_a_port_in_use() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(PortError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_closing_listener_resets_no_connection(host: str) -> None:
    """Earlier connections are served. Later ones are not accepted, so that closing the listener resets none."""
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]) as early:
        drop_new_connections(listener)
        assert has_waiting(listener)
        with socket.socket(listener.family) as late:
            late.setblocking(False)
            assert late.connect_ex(listener.getsockname()) == errno.EINPROGRESS
            early.sendall(b"question")
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(100) == b"question"
                connection.sendall(b"answer")
            assert early.recv(100) == b"answer"
            assert not has_waiting(listener)
            listener.close()
            # The kernel retries the connection after a second.
            assert select.select([], [late], [], 5)[1]
            assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
