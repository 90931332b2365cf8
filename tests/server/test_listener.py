"""Where the server listens."""

import socket

import pytest

from maritalk_vllm.errors import PortError
from maritalk_vllm.server.listener import listen, local_url, url


@pytest.mark.parametrize(("host", "shown", "reached"), [("0.0.0.0", "0.0.0.0", "127.0.0.1"), ("::1", "[::1]", "[::1]")])
def test_addresses(host: str, shown: str, reached: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert url(listener) == f"http://{shown}:{port}"
        assert local_url(listener) == f"http://{reached}:{port}"


def test_a_port_in_use() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(PortError, match="in use"):
        listen("127.0.0.1", listener.getsockname()[1])
