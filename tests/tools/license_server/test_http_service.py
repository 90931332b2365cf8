"""The service's process: output, stop, certificate, proxy."""

import asyncio
import contextlib
import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from maritalk_vllm.errors import UsageError
from maritalk_vllm.http import client_limits
from maritalk_vllm.http.certificate import Certificate
from maritalk_vllm.tools.license_server import license_keys, weights_archive
from maritalk_vllm.tools.license_server.app import create_app
from maritalk_vllm.tools.license_server.database import Database
from maritalk_vllm.tools.license_server.http_service import Renewal
from tests.cli.test_config import run_tool
from tests.server.loading.test_loading_app import running
from tests.server.wire import wire
from tests.tools.license_server.running import Running, error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_ends_the_service_cleanly(tmp_path: Path, number: int) -> None:
    with Running(tmp_path) as service:
        license_keys.add(service.database, ("small",))
        service.client.get("/")
        assert service.stop(number) == 0
        assert service.stderr.read_text() == ""


def test_running_download_does_not_delay_the_stop(tmp_path: Path) -> None:
    large = tmp_path / "large.tar"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    with Running(tmp_path) as service:
        weights_archive.register(service.database, weights_archive.read("small", large))
        link = service.weights_link(license_keys.add(service.database, ("small",)))
        with service.client.stream("GET", link) as answer:
            content = answer.iter_raw()
            assert next(content)
            assert service.stop() == 0
            with pytest.raises(httpx.TransportError):
                list(content)
        assert service.stderr.read_text() == ""


def test_port_in_use_and_invalid_certificate(tmp_path: Path) -> None:
    database = ["--database", str(tmp_path / "licenses.db")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run_tool("license", "serve", *database, "--port", str(taken.getsockname()[1]))
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (8, "", 1)
    for wrong in (
        ["--ssl-certfile", "/etc/hostname", "--ssl-keyfile", "/etc/hostname"],
        ["--ssl-certfile", "/nowhere"],
        ["--public-url", "licences.example.org"],
        ["--public-url", "https://x/?y"],
        ["--public-url", "http://["],
    ):
        refused = run_tool("license", "serve", "--port", "0", *database, *wrong)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1), wrong


def test_links_begin_with_the_public_url(tmp_path: Path) -> None:
    with Running(tmp_path, "--public-url", "https://licences.example.org/x/") as service:
        link = httpx.URL(service.ask(license_keys.add(service.database, ("small",))).json()["presigned_url"])
        assert str(link).startswith("https://licences.example.org/x/files/maritalk?key=1&expires=")
        # As a proxy would forward the request.
        script = service.client.get(link.raw_path.decode().removeprefix("/x")).text
        assert "MARITALK_LICENSE_SERVICE=https://licences.example.org/x\n" in script


def write_certificate(folder: Path) -> None:
    """Create a certificate for localhost, with its key, as cert.pem and key.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    localhost = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = builder.add_extension(localhost, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def test_tls(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    options = ("--ssl-certfile", str(tmp_path / "cert.pem"), "--ssl-keyfile", str(tmp_path / "key.pem"))
    with Running(tmp_path, *options) as service:
        assert service.url.startswith("https://")
        license = license_keys.add(service.database, ("small",))
        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        url = service.url.replace("127.0.0.1", "localhost")
        with httpx.Client(verify=trusted, trust_env=False) as client:
            link = client.post(f"{url}/local/download", json={"license": license}).json()["presigned_url"]
            assert link.startswith(url)
            assert client.get(link).status_code == 200


def test_invalid_renewed_certificate_is_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_certificate(tmp_path)
    renewal = Renewal(certificate, key)
    taken: list[Certificate] = []
    take = renewal.identity.update

    def failing_update(certificate: Certificate) -> None:
        raise UsageError("The certificate cannot be used: Too many open files.")

    def noted(certificate: Certificate) -> None:
        take(certificate)
        taken.append(certificate)

    def looks() -> str:
        for _ in range(4):
            renewal.check()
        return capsys.readouterr().err

    monkeypatch.setattr(renewal.identity, "update", noted)
    assert looks() == ""
    good = key.read_text()
    key.write_text("not a key")
    said = looks()
    assert said.startswith("The certificate cannot be used: ")
    assert said.endswith(". The certificate that was read before stays in use.\n")
    assert said.count("\n") == 1
    key.unlink()
    assert "key.pem cannot be read: No such file or directory. The" in looks()
    key.write_text(good)
    assert looks() == ""
    key.write_text("not a key")
    assert looks() == said

    # The new certificate is valid, but cannot be loaded yet.
    monkeypatch.setattr(renewal.identity, "update", failing_update)
    write_certificate(tmp_path)
    assert looks().startswith("The certificate cannot be used: Too many open files. ")
    monkeypatch.setattr(renewal.identity, "update", noted)
    assert looks() == ""
    assert taken[-1] == Certificate.read(certificate, key) != taken[0]


@pytest.mark.parametrize("begins", [b"", b"POST /local/download HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"])
def test_idle_clients_do_not_exhaust_descriptors(tmp_path: Path, begins: bytes) -> None:
    """There are fewer descriptors than the service assumes, as if other parts of it used them."""
    with Running(tmp_path) as service, contextlib.ExitStack() as stack:
        license = license_keys.add(service.database, ("small",))
        assert service.ask(license).status_code == 200
        taken = max(int(each.name) for each in Path(f"/proc/{service.process.pid}/fd").iterdir())
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (taken + 40, taken + 40))
        address = httpx.URL(service.url)
        for _ in range(150):
            silent = stack.enter_context(socket.create_connection((address.host, address.port or 80)))
            silent.sendall(begins)
        for _ in range(3):
            with httpx.Client(base_url=service.url, timeout=15, trust_env=False) as other:
                assert other.post("/local/download", json={"license": license}).status_code == 200
        log = service.stderr.read_text()
        assert log.count("\n") == log.count("No more connections can be accepted for now: Too many open files.") == 1


def test_slow_body_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BODY_IDLE_SECONDS", 0.1)
    with Database(tmp_path / "licenses.db") as database:
        app = create_app(database, public_url=None, link_seconds=60)

        async def scenario() -> None:
            async with running(app) as url, wire(url) as line:
                await line.ask("POST", "/local/download", "Content-Length: 10", body=b"{")
                reply = await line.reply()
                assert (reply.status, reply.headers["connection"]) == (408, "close")
                assert reply.json == {"error": "The request did not arrive within 0.1 s. Send it again."}
                assert await line.rest() == b""

        asyncio.run(scenario())


def test_damaged_database_is_unavailable(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        key = license_keys.add(service.database, ("small",))
        with service.database.write() as connection:
            connection.execute("ALTER TABLE audit RENAME TO elsewhere")
        unavailable = service.ask(key)
        assert (unavailable.status_code, "no such table" in error(unavailable)) == (503, True)
        with service.database.write() as connection:
            connection.execute("UPDATE keys SET models = 'none'")
        failed = service.ask(key)
        assert (failed.status_code, error(failed)) == (500, "The service failed.")
        log = service.stderr.read_text()
        assert "no such table" in log
        assert key not in log


def test_help_does_not_import_the_server() -> None:
    code = "import json, sys, maritalk_vllm.cli.tools_app; print(json.dumps(list(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"fastapi", "starlette", "uvicorn"} & set(modules)
