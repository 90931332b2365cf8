"""The locks: what is installed is pinned by the hashes of its files, for each Python and from any index."""

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.documents.pages import ROOT
from tests.locks import REQUIREMENTS, entries, pins

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
    for name in ("build", "cpu", "cuda13", "deploy", "dev", "image", "page", "router", "uv"):
        lines = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
        for asked in (Requirement(line) for line in lines if line and not line.startswith("#")):
            for python in PYTHONS:
                locks = [pins(f"{lock}.lock", python) for lock in [name, *before.get(name, [])]]
                versions = [
                    there[canonicalize_name(asked.name)] for there in locks if canonicalize_name(asked.name) in there
                ]
                assert len(versions) == 1 and asked.specifier.contains(versions[0]), asked


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
