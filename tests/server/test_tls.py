"""HTTPS, with a certificate that is renewed while the server runs."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from prometheus_client import CollectorRegistry

from maritalk_vllm.errors import UsageError
from maritalk_vllm.server import web
from maritalk_vllm.server.access import Access
from maritalk_vllm.server.gate import Gate
from maritalk_vllm.server.listener import listen, local_url
from maritalk_vllm.server.state import State
from maritalk_vllm.server.web import WebServer, config
from maritalk_vllm.settings import Settings, TimeUnit
from tests.counting import tally

HOST = "127.0.0.1"


class Authority:
    """Signs certificates, and knows who trusts them."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self.trusted = ssl.create_default_context()
        self._authority.configure_trust(self.trusted)

    def certify(self, folder: Path) -> Settings:
        made = self._authority.issue_cert(HOST)
        certificate, key = folder / "cert.pem", folder / "key.pem"
        made.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        return Settings(ssl_certfile=certificate, ssl_keyfile=key)


def test_a_renewed_certificate_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "RENEW_SECONDS", 0.02)

    async def status(url: str, authority: Authority) -> object:
        async with httpx.AsyncClient(verify=authority.trusted) as client:
            return (await client.get(url)).json()

    async def scenario() -> None:
        old, new = Authority(), Authority()
        access, state = Access.of(old.certify(tmp_path)), State()
        listener = listen(HOST, 0)
        server = WebServer(
            config(
                access.around(Gate(CollectorRegistry()), state, TimeUnit.MILLISECONDS, tally()),
                lifespan="off",
                **access.ssl,
            )
        )
        serving = asyncio.create_task(server.serve([listener]))
        url = local_url(listener, "https")
        try:
            assert await status(url, old) == {"status": "loading"}
            (tmp_path / "cert.pem").write_text("half")
            await asyncio.sleep(0.1)
            assert await status(url, old) == {"status": "loading"}
            new.certify(tmp_path)
            async with asyncio.timeout(10):
                while True:
                    try:
                        assert await status(url, new) == {"status": "loading"}
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0.02)
            with pytest.raises(httpx.ConnectError):
                await status(url, old)
        finally:
            server.should_exit = True
            await serving

    asyncio.run(scenario())


def test_what_cannot_be_used_is_found_before_the_start(tmp_path: Path) -> None:
    good = Authority().certify(tmp_path)
    (tmp_path / "text").write_text("text")
    for wrong in (
        Settings(ssl_certfile=good.ssl_certfile),
        Settings(ssl_keyfile=good.ssl_keyfile),
        Settings(ssl_certfile=tmp_path / "text", ssl_keyfile=good.ssl_keyfile),
        Settings(ssl_certfile=tmp_path / "absent", ssl_keyfile=good.ssl_keyfile),
    ):
        with pytest.raises(UsageError, match="--ssl-certfile"):
            Access.of(wrong)
