"""Signatures and expiry of links."""

import httpx
import pytest

from maritalk_vllm.tools.license_server.service_errors import Forbidden
from maritalk_vllm.tools.license_server.signed_urls import sign, verify

SECRET = b"a secret"


def query(link: str) -> dict[str, str]:
    return dict(httpx.URL(link).params)


def test_link_is_valid_until_it_expires() -> None:
    good = query(sign(SECRET, "small-1", 7, 1000))
    assert verify(SECRET, "small-1", good, 999.999) == 7
    for late in (1000, 1001):
        with pytest.raises(Forbidden, match="time of this link is over") as refused:
            verify(SECRET, "small-1", good, late)
        assert refused.value.key == 7


def test_signature_does_not_match_other_parts() -> None:
    good = query(sign(SECRET, "small-1", 7, 1000))
    for name, changed in [
        ("small-1", {"key": "71", "expires": "000"}),
        ("small-1\n7", {"key": "1000", "expires": ""}),
        ("small", {"key": "-1\n7"}),
        ("small-17", {"key": ""}),
    ]:
        with pytest.raises(Forbidden, match="was changed"):
            verify(SECRET, name, good | changed, 0)
    with pytest.raises(Forbidden, match="was changed"):
        verify(b"another secret", "small-1", good, 0)
