"""The proxy that redirects clients with a hard-coded address."""

import http.client
from urllib.parse import urlsplit

import pytest

from tests.clients.environments import run
from tests.clients.questions import ECHO, MESSAGE, TOO_MANY

pytestmark = pytest.mark.clients

CALLS = {"an echo": {"messages": ECHO, "do_sample": False, "max_tokens": 12}}


@pytest.mark.parametrize("host", ["example.org:443", "chat.maritaca.ai:80", "www.maritaca.ai:443"])
def test_the_proxy_rejects_other_hosts(redirected: dict[str, str], host: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(redirected["HTTPS_PROXY"]).netloc, timeout=30)
    connection.request("CONNECT", host)
    assert connection.getresponse().status == 403
    connection.close()


def test_the_machines_own_proxies_are_not_used(redirected: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, the cloud's client uses that of the cloud."""
    for name, value in {"no_proxy": "*", "NO_PROXY": "*", "https_proxy": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    too_many = {"messages": MESSAGE, "max_tokens": TOO_MANY}
    inputs = {"client": {"key": "key", "model": "sabia-3"}, "calls": CALLS, "too many tokens": too_many}
    reported = run("maritalk-0.2.3", "cloud", inputs, redirected)
    assert reported["an echo"]["answer"].strip() == ECHO[-1]["content"]
    assert reported["an echo"]["model"] == "demo"
