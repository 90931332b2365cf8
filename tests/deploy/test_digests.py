"""scripts/digests with a local registry: it hashes the manifest list itself; a failed request changes nothing."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.answering import Request, answering
from tests.deploy.chart import ROOT
from tests.serving import UNREACHABLE_URL
from tests.test_locks import script

pytestmark = pytest.mark.deploy

LISTS = {"/v2/library/debian/manifests/bookworm-20261005-slim": b"{1}", "/v2/nvidia/cuda/manifests/13.0.2": b"{2}"}
TEXT = "ARG CPU_IMAGE=debian:bookworm-20261005-slim\nARG CUDA13_IMAGE=nvidia/cuda:13.0.2\nFROM ${CPU_IMAGE}\n"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def run(file: Path, registry: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [sys.executable, ROOT / "scripts" / "digests", file]
    return subprocess.run(command, env={**os.environ, "REGISTRY": registry}, capture_output=True, text=True)


def registry(*, asks_for_a_token: bool) -> Callable[[Request], None]:
    def answer(request: Request) -> None:
        if request.path.startswith("/token"):
            request.reply(200, json.dumps({"token": f"t {'scope=repository' in request.path}"}).encode())
        elif asks_for_a_token and request.headers.get("authorization") != "Bearer t True":
            realm = f'Bearer realm="http://{request.headers["host"]}/token",service="r",scope="repository:x:pull"'
            request.reply(401, www_authenticate=realm)
        elif (content := LISTS.get(request.path)) is None:
            request.reply(404)
        else:
            assert "image.index" in request.headers["accept"]
            request.reply(200, content, docker_content_digest="sha256:of-another")

    return answer


@pytest.mark.parametrize("asks_for_a_token", [False, True])
def test_each_image_gets_the_digest_of_its_manifest_list(asks_for_a_token: bool, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(TEXT)
    with answering(registry(asks_for_a_token=asks_for_a_token)) as server:
        for _ in range(2):  # the second run replaces the digests of the first
            ended = run(file, server.url)
            assert ended.returncode == 0, ended.stderr
    assert file.read_text() == TEXT.replace("-slim\n", f"-slim@{digest(b'{1}')}\n").replace(
        "13.0.2\n", f"13.0.2@{digest(b'{2}')}\n"
    )


@pytest.mark.parametrize("away", ["all of it", "one image"])
def test_a_failed_request_changes_nothing(away: str, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(TEXT.replace("13.0.2", "0.0.0"))
    with answering(registry(asks_for_a_token=False)) as server:
        ended = run(file, UNREACHABLE_URL if away == "all of it" else server.url)
    assert ended.returncode == 1
    assert "cannot be found" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "@" not in file.read_text()


def test_every_base_image_is_pinned_by_an_argument() -> None:
    """An ARG with a release, never `latest`; each FROM is such an argument or a stage."""
    digests = script("digests")
    for file in digests.DOCKERFILES:
        text = file.read_text()
        images = digests.IMAGE.findall(text)
        assert len(images) == len(re.findall(r"^ARG \w+_IMAGE=", text, re.MULTILINE)) > 0
        assert not [tag for _, _, tag in images if tag == "latest"]
        stages = set(re.findall(r"^FROM .* AS (\S+)$", text, re.MULTILINE))
        for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
            assert re.fullmatch(r"\$\{\w+_IMAGE\}", base) or base in stages or "$" in base, base


def test_the_registry_and_repository_of_an_image() -> None:
    place = script("digests").place
    assert place("debian") == ("https://registry-1.docker.io", "library/debian")
    assert place("nvidia/cuda") == ("https://registry-1.docker.io", "nvidia/cuda")
    assert place("registry.example.org:5000/a/b") == ("https://registry.example.org:5000", "a/b")
