"""scripts/release builds all files of a release with one version and their digests."""

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm import __version__
from tests.deploy.chart import CHART, tool
from tests.documents.pages import ROOT
from tests.test_locks import script

pytestmark = pytest.mark.deploy

FILES = {
    f"maritalk_vllm-{__version__}-py3-none-any.whl",
    f"maritalk_vllm-{__version__}.tar.gz",
    f"maritalk-vllm-{__version__}.tgz",
    "images.json",
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    command: list[str | Path] = [sys.executable, ROOT / "scripts" / "release", "--snapshot", folder]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_release_has_every_file_with_its_digest(release: Path) -> None:
    assert {path.name for path in release.iterdir()} == {*FILES, "SHA256SUMS"}
    sums = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    checked = subprocess.run(sums, cwd=release, capture_output=True, text=True)
    assert checked.returncode == 0
    assert set(re.findall(r"^(.+): OK$", checked.stdout, re.MULTILINE)) == FILES


def test_the_packages_have_the_metadata_of_the_project(release: Path) -> None:
    wheel = zipfile.ZipFile(release / f"maritalk_vllm-{__version__}-py3-none-any.whl")
    metadata = wheel.read(f"maritalk_vllm-{__version__}.dist-info/METADATA").decode()
    for line in (
        "Author: ",
        "License-Expression: Apache-2.0",
        "Classifier: Intended Audience :: System Administrators",
    ):
        assert f"\n{line}" in metadata
    with tarfile.open(release / f"maritalk_vllm-{__version__}.tar.gz") as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"pyproject.toml", "CHANGELOG.md", "docs/README.md", "docker-compose.yml", "mkdocs.yml"} <= names


def test_helm_reads_the_charts_archive(release: Path) -> None:
    archive = release / f"maritalk-vllm-{__version__}.tgz"
    with tarfile.open(archive) as chart:
        names = {name.partition("/")[2] for name in chart.getnames()}
    assert names == {str(path.relative_to(CHART)) for path in CHART.rglob("*") if path.is_file()} - {".helmignore"}
    shown = tool("helm", "show", "chart", str(archive))
    assert f"version: {__version__}\n" in shown.stdout, shown.stderr
    assert tool("helm", "template", "maritalk-vllm", str(archive)).returncode == 0


def test_the_images_are_those_of_the_dockerfile_without_digests(release: Path) -> None:
    images: list[dict[str, Any]] = json.loads((release / "images.json").read_text())
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert [image["tags"][0].partition("-cu")[0] for image in images][:2] == [f"maritalk-vllm:{__version__}"] * 2
    for image in images:
        assert f" AS {image['target']}\n" in dockerfile
        assert all(f"\nARG {name}" in dockerfile for name in image["build_args"])
        assert all(f"{name}=" in dockerfile for name in image["labels"])
        assert image["digest"] is None


def test_versions_that_differ_end_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    release = script("release")
    others = {"CHANGELOG.md": "9.9.9"}
    found = release.found
    monkeypatch.setattr(release, "found", lambda file, pattern: others.get(file) or found(file, pattern))
    assert release.version(snapshot=True) == __version__
    with pytest.raises(SystemExit, match=r"CHANGELOG\.md has 9\.9\.9"):
        release.version(snapshot=False)


def test_a_folder_with_files_is_not_changed(release: Path) -> None:
    before = (release / "SHA256SUMS").read_bytes()
    command: list[str | Path] = [sys.executable, ROOT / "scripts" / "release", "--snapshot", release]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "is not empty" in result.stderr
    assert (release / "SHA256SUMS").read_bytes() == before
