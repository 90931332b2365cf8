"""Addresses of servers: which are valid, which are this machine, and whose certificate is trusted."""

from pathlib import Path

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.tools.server_address import ServerAddress


@pytest.mark.parametrize("url", ["localhost:9000", "ftp://localhost", "http://", "9000", "http://a:b"])
def test_invalid_address(url: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        ServerAddress(url=url).parsed_url()


def test_unusable_ca_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    for file in (tmp_path / "text", tmp_path / "absent"):
        with pytest.raises(UsageError, match="cannot be used"):
            ServerAddress(url="https://localhost", ca_file=file).ssl_verify()


@pytest.mark.parametrize(
    ("url", "is_local"),
    [("http://localhost:1", True), ("http://127.0.0.2", True), ("http://[::1]:9", True), ("http://192.0.2.1", False)],
)
def test_is_local(url: str, is_local: bool) -> None:
    assert ServerAddress(url=url).is_local is is_local
