"""`maritalk-vllm license`, and a signed licence in a start."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.test_config import run_tool
from tests.commands import run
from tests.licensing.keys import DAY, Keys
from tests.serving import UNREACHABLE_URL
from tests.vllm_build import needs_cpu_build

OLD_KEY = ("--license", "AAAAA-BBBBB-CCCCC-DDDDD", "--license-service", UNREACHABLE_URL)
SOON = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def license(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return run_tool("license", *map(str, arguments))


def dry_run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-serve", "--dry-run", "--port", "0", "--device", "cpu", *arguments)


@needs_cpu_build
def test_key_pair_to_server_start(tmp_path: Path) -> None:
    assert license("keygen", "--folder", tmp_path).returncode == 0
    private, public = tmp_path / "maritalk-license.key", tmp_path / "maritalk-license.pub"
    assert private.stat().st_mode & 0o777 == 0o600
    signed = license("issue", "--private-key", private, "--model", "demo", "--licensee", "ACME", "--expires", SOON)
    file = tmp_path / "licence"
    file.write_text(signed.stdout)
    seen = license("inspect", file, "--public-key", public)
    assert seen.returncode == 0
    for words in ("ACME", "demo", SOON, "good        yes"):
        assert words in seen.stdout
    portuguese = license("inspect", file, "--public-key", public, "--lang", "pt").stdout
    assert "não antes de  -\n" in portuguese  # longer than the columns of English
    start = dry_run("--license", file, "--license-public-key", public)
    assert start.returncode == 0, start.stderr
    assert "SmolLM2" in start.stdout


def test_issue_creates_a_private_file_and_never_overwrites(keys: Keys, tmp_path: Path) -> None:
    issue = ["issue", "--private-key", keys.private, "--model", "small", "--licensee", "X", "--expires", SOON]
    out = tmp_path / "licence"
    assert license(*issue, "--out", out).returncode == 0
    assert out.stat().st_mode & 0o777 == 0o600
    content = out.read_text()
    again = license(*issue, "--out", out)
    assert (again.returncode, out.read_text()) == (2, content)
    assert "cannot be written" in again.stderr


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--model", "smal", "--expires", SOON], "Did you mean small?"),
        (["--model", "small", "--expires", "2020-01-01"], "would never be valid"),
        (["--model", "small", "--expires", SOON, "--not-before", "2090-01-01"], "would never be valid"),
        (
            ["--model", "small", "--expires", "tomorrow"],
            "--expires: 'tomorrow' is no date: write it as YYYY-MM-DD, such",
        ),
        (
            ["--model", "small", "--expires", "31/01/2036", "--lang", "pt"],
            "--expires: '31/01/2036' não é uma data: use AAAA-MM-DD (YYYY-MM-DD), como 2036-01-31. Veja `maritalk-vllm "
            "license issue --help`.",
        ),
        (["--model", "small"], "--expires"),
    ],
)
def test_issue_rejects_invalid_options(keys: Keys, wrong: list[str], says: str) -> None:
    refused = license("issue", "--private-key", keys.private, "--licensee", "X", *wrong)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert refused.stdout == ""


def test_inspect_reports_invalid_licences(keys: Keys, tmp_path: Path) -> None:
    for token, key, says in [
        (keys.license("small", ends=-DAY), keys.public, "expired"),
        (keys.license("small"), Keys(tmp_path, "other").public, "signed with another key"),
    ]:
        seen = license("inspect", token, "--public-key", key)
        assert seen.returncode == 3
        assert "ACME" in seen.stdout
        assert "good        no" in seen.stdout
        assert says in seen.stderr
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\x00")
    for nonsense in (license("inspect", "nonsense"), license("inspect", binary)):
        assert (nonsense.returncode, nonsense.stderr.count("\n")) == (3, 1)


@needs_cpu_build
@pytest.mark.parametrize("license", [[], [*OLD_KEY]])
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("maritalk-serve", ["--dry-run", "--device", "cpu", "--port", "0"]),
        ("maritalk-vllm", ["plan"]),
        ("maritalk-vllm", ["download"]),
    ],
)
def test_the_demo_model_by_its_name_asks_for_no_licence_and_no_service(
    tmp_path: Path, program: str, arguments: list[str], license: list[str]
) -> None:
    found = run(program, *arguments, "--model", "demo", "--cache-dir", tmp_path, *license)
    assert (found.returncode, found.stderr) == (0, "")


@needs_cpu_build
@pytest.mark.parametrize(
    ("license", "says"),
    [
        ("expired", "expired"),
        ("of another", "signed with another key"),
    ],
)
def test_start_with_an_unsuitable_licence(keys: Keys, tmp_path: Path, license: str, says: str) -> None:
    token = {
        "expired": keys.license("demo", ends=-timedelta(seconds=1)),
        "of another": Keys(tmp_path, "other").license("demo"),
    }[license]
    refused = dry_run("--license", token, "--license-public-key", keys.public)
    assert refused.returncode == 3
    assert says in refused.stderr
    assert token not in refused.stdout + refused.stderr
