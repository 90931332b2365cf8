"""The operator's commands, while a service is running."""

import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.test_config import run_tool
from tests.tools.license_server.running import Running, error
from tests.weights import archives

pytestmark = pytest.mark.commands

SOON = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"


def license(database: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return run_tool("license", *map(str, arguments), "--database", str(database))


def test_life_of_a_key_from_creation_to_revocation(tmp_path: Path) -> None:
    archive = archives.tar(archives.model(tmp_path / "model"), tmp_path / "weights.tar")
    with Running(tmp_path) as service:
        added = license(service.file, "add-key", "--model", "small", "--licensee", "ACME", "--expires", SOON)
        key = added.stdout.removesuffix("\n")
        assert re.fullmatch(r"([A-Z2-9]{5}-){3}[A-Z2-9]{5}", key)
        registered = license(service.file, "add-weights", "--model", "small", archive)
        assert registered.returncode == 0, registered.stderr
        link = service.weights_link(key)
        assert service.client.get(link, headers={"Range": "bytes=2-"}).content == archive.read_bytes()[2:]
        service.ask(key, f"artifact=weights, model={key}")

        listed = license(service.file, "keys").stdout.splitlines()
        assert listed[1].split() == ["1", f"{key[:5]}-...", "small", "ACME", SOON, "valid"]
        assert license(service.file, "revoke", 1).returncode == 0
        assert "revoked" in license(service.file, "keys").stdout
        for answer in (service.ask(key), service.client.get(link)):
            assert answer.status_code == 403
            assert "revoked" in error(answer)

        shown_values = license(service.file, "audit")
        events = ["key added", "weights added", "issued", "download", "refused", "key revoked", "refused", "refused"]
        assert [row.event for row in service.last(100)] == events
        assert [event in line for event, line in zip(events, shown_values.stdout.splitlines()[1:], strict=True)] == [
            True
        ] * 8
        assert "bytes=2-" in shown_values.stdout
        assert len(license(service.file, "audit", "--last", 2).stdout.splitlines()) == 3
        nowhere = [file.read_bytes() for file in (*service.file.parent.iterdir(), service.stdout, service.stderr)]
        nowhere += [shown_values.stdout.encode(), "".join(listed).encode(), answer.content]
    nowhere += [file.read_bytes() for file in (*service.file.parent.iterdir(), service.stderr)]
    assert not any(key.encode() in text for text in nowhere)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add-key", "--model", "smal"], "Did you mean small?"),
        (["add-key", "--model", "small", "--expires", "2020-01-01"], "would never be valid"),
        (["add-key"], "--model"),
        (["revoke", "7"], "no key 7"),
        (["add-weights", "--model", "smal", "/etc/hostname"], "Did you mean small?"),
        (["add-weights", "--model", "small", "/nowhere"], "cannot be read"),
        (["add-weights", "--model", "small", "/dev/null"], "is no archive"),
        (["add-weights", "--model", "small", "/bin/sh"], "No host would unpack"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    refused = license(tmp_path / "licenses.db", *arguments)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert says in refused.stderr


def test_alias_is_resolved_and_default_database_path(tmp_path: Path) -> None:
    added = run_tool("license", "add-key", "--model", "large", "--model", "medium", XDG_DATA_HOME=str(tmp_path))
    assert added.returncode == 0, added.stderr
    listed = license(tmp_path / "maritalk-vllm" / "licenses.db", "keys").stdout.splitlines()
    assert listed[1].split()[2:] == ["medium", "never", "valid"]
