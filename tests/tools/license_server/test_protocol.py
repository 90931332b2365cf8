"""POST /local/download: responses for valid keys, and rejected requests."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from maritalk_vllm.tools.license_server import license_keys
from tests.tools.license_server.conftest import SHA256, WEIGHTS
from tests.tools.license_server.running import Running, error

TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


@pytest.mark.parametrize("more", [{"cuda_version": "12.2"}, {"cuda_version": 12}, {"openssl_version": "3"}, {}])
def test_published_client_gets_the_launcher(service: Running, more: dict[str, Any]) -> None:
    key = license_keys.add(service.database, ("small", "demo"), "ACME", TOMORROW)
    answer = service.ask(key, **more).json()
    link = answer.pop("presigned_url")
    assert answer == {
        "model_size": "small",
        "models": ["small", "demo"],
        "expires": TOMORROW.isoformat(),
        "licensee": "ACME",
    }
    with httpx.stream("GET", link, trust_env=False) as download:
        assert int(download.headers["content-length"]) == len(download.read()) > 0
        assert download.text.startswith("#!/bin/sh\n")
    head = service.client.head(link)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == download.headers["content-length"]


@pytest.mark.parametrize(
    ("prefer", "model"),
    [
        ("artifact=weights", "small"),
        ("artifact=weights, model=demo", "demo"),
        ('respond-async, Artifact="weights"; x=1,model = "demo"', "demo"),
    ],
)
def test_weights(service: Running, prefer: str, model: str) -> None:
    key = license_keys.add(service.database, ("small", "demo"))
    answer = service.ask(key, prefer).json()
    link = answer.pop("presigned_url")
    assert answer == {
        "model_size": model,
        "models": ["small", "demo"],
        "expires": None,
        "licensee": "",
        "size": len(WEIGHTS[model]),
        "sha256": SHA256[model],
    }
    assert service.client.get(link).content == WEIGHTS[model]


def test_two_prefer_headers_are_combined(service: Running) -> None:
    key = license_keys.add(service.database, ("small", "demo"))
    lines = [("Prefer", "artifact=weights"), ("Prefer", "model=demo")]
    answer = service.client.post("/local/download", json={"license": key}, headers=lines)
    assert answer.json()["sha256"] == SHA256["demo"]


def test_unknown_expired_and_revoked_keys_are_rejected(service: Running) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    expired = license_keys.add(service.database, ("small",), expires=hour_ago)
    revoked = license_keys.add(service.database, ("small",))
    (key,) = [
        key for key in license_keys.list_keys(service.database) if license_keys.find(service.database, revoked) == key
    ]
    license_keys.revoke(service.database, key.id)
    medium = license_keys.add(service.database, ("medium",))
    cases = [
        ("AAAAA-BBBBB-CCCCC-DDDDD", None, 401, "unknown"),
        ("", None, 401, "unknown"),
        (expired, None, 403, f"expired on {hour_ago:%Y-%m-%d %H:%M}"),
        (expired, "artifact=weights", 403, "expired"),
        (revoked, None, 403, f"revoked on {datetime.now(UTC):%Y-%m-%d}"),
        (medium, "artifact=weights", 404, "no weights of medium"),
        (medium, "artifact=weights, model=small", 403, "is for medium"),
        (medium, "artifact=weights, model=nothing", 403, "is for medium"),
    ]
    for text, prefer, status, says in cases:
        answer = service.ask(text, prefer)
        assert answer.status_code == status, (text, prefer)
        assert says in error(answer)
        (entry,) = service.last()
        assert (entry.event, entry.client, entry.detail) == ("refused", "127.0.0.1", error(answer))
        found = license_keys.find(service.database, text)
        assert entry.key == (found and found.id)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"x",
        b"\xff",
        b'"XXXXX"',
        b'{"license": 1}',
        b'{"license": null}',
        b'{"license": "\\ud800"}',
        b'{"license": "\xed\xa0\x80"}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
)
def test_malformed_body(service: Running, body: bytes) -> None:
    answer = service.client.post("/local/download", content=body)
    assert answer.status_code == 400
    assert error(answer)
    assert service.last()[0].event == "refused"


def test_body_too_long(service: Running) -> None:
    key = license_keys.add(service.database, ("small",))
    fits = b'{"license": "%s"}' % key.encode()
    assert service.client.post("/local/download", content=fits.ljust(64 * 1024)).status_code == 200
    assert service.client.post("/local/download", content=fits.ljust(64 * 1024 + 1)).status_code == 413
    chunks = (b" " * 1024 for _ in range(200))
    assert "64 KiB" in error(service.client.post("/local/download", content=chunks))


def test_key_expires_while_the_service_runs(service: Running) -> None:
    key = license_keys.add(service.database, ("small",), expires=TOMORROW)
    link = service.weights_link(key)
    now = datetime.now(UTC).isoformat()
    with service.database.write() as connection:
        connection.execute("UPDATE keys SET expires = ? WHERE id = ?", (now, httpx.URL(link).params["key"]))
    for answer in (service.ask(key), service.client.get(link)):
        assert answer.status_code == 403
        assert "expired on" in error(answer)


def test_other_routes_and_methods(service: Running) -> None:
    for answer, status in [
        (service.client.get("/"), 404),
        (service.client.get("/docs"), 404),
        (service.client.get("/local/download"), 405),
        (service.client.put("/files/small"), 405),
    ]:
        assert answer.status_code == status
        assert error(answer)


@pytest.fixture
def launcher(service: Running, tmp_path: Path) -> Path:
    link = service.ask(license_keys.add(service.database, ("small",))).json()["presigned_url"]
    file = tmp_path / "bin of mine" / "maritalk"
    file.parent.mkdir()
    file.write_bytes(service.client.get(link).content)
    file.chmod(0o755)
    return file


def launch(launcher: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [launcher, "--license", "A B", "--port", "1"]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_launcher_starts_the_server(service: Running, launcher: Path, tmp_path: Path) -> None:
    server = tmp_path / "maritalk-serve"
    server.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "$MARITALK_LICENSE_SERVICE"; exit 3\n')
    server.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    started = launch(launcher, PATH=path)
    assert (started.returncode, started.stderr) == (3, "")
    assert started.stdout.splitlines() == ["--license", "A B", "--port", "1", service.url]
    for own in ("http://other", ""):
        assert launch(launcher, PATH=path, MARITALK_LICENSE_SERVICE=own).stdout.splitlines()[4] == own


def test_launcher_reports_a_missing_server(launcher: Path) -> None:
    missing = launch(launcher, PATH="/usr/bin:/bin")
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (127, "", 1)
    assert "pip install" in missing.stderr


@pytest.mark.parametrize("host", ["it's", "$(touch x)", "a b", "`x`", "x;y", '"'])
def test_host_header_cannot_inject_into_the_launcher(service: Running, host: str, tmp_path: Path) -> None:
    link = httpx.URL(service.ask(license_keys.add(service.database, ("small",))).json()["presigned_url"])
    answer = service.client.get(link, headers={"Host": host})
    assert answer.status_code == 200
    script = answer.text.replace('exec maritalk-serve "$@"', "env").replace("command -v maritalk-serve", "true")
    ran = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "MARITALK_LICENSE_SERVICE=http" in ran.stdout
    assert (ran.stderr, list(tmp_path.iterdir())) == ("", [])
