"""HTTPS, and certificates that are renewed while the server runs."""

import asyncio
import ssl
from pathlib import Path

import httpx
import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from prometheus_client import CollectorRegistry

from maritalk_vllm.errors import UsageError
from maritalk_vllm.http.certificate import Certificate, Identity
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.uvicorn_server import WebServer, config
from maritalk_vllm.server.loading.loading_app import LoadingApp
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import Settings, TimeUnit
from tests.counting import request_metrics

HOST = "127.0.0.1"


class Authority:
    """A certificate authority, and an SSL context that trusts it."""

    def __init__(self, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        self._kind = kind
        self._authority = trustme.CA()
        self.trusted = ssl.create_default_context()
        self.add_to(self.trusted)

    def add_to(self, trusted: ssl.SSLContext) -> None:
        """Have the context trust this authority, too."""
        self._authority.configure_trust(trusted)

    def certify(self, folder: Path) -> Settings:
        made = self._authority.issue_cert(HOST, key_type=self._kind)
        certificate, key = folder / "cert.pem", folder / "key.pem"
        made.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        return Settings(ssl_certfile=certificate, ssl_keyfile=key)


async def status(url: str, authority: Authority) -> object:
    async with httpx.AsyncClient(verify=authority.trusted) as client:
        return (await client.get(url)).json()


def test_a_renewed_certificate_is_used_from_the_next_connection_on(tmp_path: Path) -> None:
    """Also with a key of another type, where OpenSSL would keep both. The certificate's files are no longer needed."""

    async def scenario() -> None:
        old, new = Authority(trustme.KeyType.RSA), Authority(trustme.KeyType.ECDSA)
        access, state = AccessConfig.from_settings(old.certify(tmp_path)), ServerState()
        renewed = AccessConfig.from_settings(new.certify(tmp_path)).certificate
        assert renewed is not None
        for file in tmp_path.iterdir():
            file.unlink()
        listener, identity = listen(HOST, 0), access.identity()
        assert identity is not None
        front = MiddlewareStack(
            LoadingApp(CollectorRegistry()), access, state, TimeUnit.MILLISECONDS, request_metrics(), is_loading=True
        )
        server = WebServer(config(front, identity, lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        url = local_url(listener, "https")
        try:
            assert await status(url, old) == {"status": "loading"}
            with pytest.raises(httpx.ConnectError):
                await status(url, new)
            identity.update(renewed)
            assert await status(url, new) == {"status": "loading"}
            with pytest.raises(httpx.ConnectError):
                await status(url, old)
        finally:
            server.should_exit = True
            await serving

    asyncio.run(scenario())


def test_a_certificate_without_its_new_key_is_not_used(tmp_path: Path) -> None:
    """Renewal programs write the certificate before the key: the pair is checked before it replaces the old one."""
    first = AccessConfig.from_settings(Authority().certify(tmp_path)).certificate
    assert first is not None
    identity = Identity(first)
    shown = identity._current
    old_key = (tmp_path / "key.pem").read_bytes()
    new = Authority().certify(tmp_path)
    assert new.ssl_certfile is not None and new.ssl_keyfile is not None
    new_key = new.ssl_keyfile.read_bytes()
    new.ssl_keyfile.write_bytes(old_key)
    with pytest.raises(UsageError, match="key values mismatch"):
        Certificate.read(new.ssl_certfile, new.ssl_keyfile)
    with pytest.raises(UsageError):
        identity.update(Certificate(new.ssl_certfile.read_text(), old_key.decode()))
    assert identity._current is shown
    new.ssl_keyfile.write_bytes(new_key)
    identity.update(Certificate.read(new.ssl_certfile, new.ssl_keyfile))
    assert identity._current is not shown


def test_an_unusable_certificate_is_an_error_at_start(tmp_path: Path) -> None:
    good = Authority().certify(tmp_path)
    assert good.ssl_keyfile is not None
    (tmp_path / "text").write_text("text")
    key = load_pem_private_key(good.ssl_keyfile.read_bytes(), None)
    (tmp_path / "encrypted").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    for wrong in (
        Settings(ssl_certfile=good.ssl_certfile),
        Settings(ssl_keyfile=good.ssl_keyfile),
        Settings(ssl_certfile=tmp_path / "text", ssl_keyfile=good.ssl_keyfile),
        Settings(ssl_certfile=tmp_path / "absent", ssl_keyfile=good.ssl_keyfile),
        Settings(ssl_certfile=good.ssl_certfile, ssl_keyfile=tmp_path / "encrypted"),
    ):
        with pytest.raises(UsageError, match="--ssl-certfile"):
            AccessConfig.from_settings(wrong)


def test_repr_does_not_show_the_private_key(tmp_path: Path) -> None:
    access = AccessConfig.from_settings(Authority().certify(tmp_path))
    assert access.certificate is not None
    assert access.certificate.key not in repr(access)
    assert "PRIVATE" not in repr(access)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(access), type=AccessConfig) == access
