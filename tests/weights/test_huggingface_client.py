"""A hub that sends more than it lists, or redirects elsewhere: with the real huggingface_hub, on the loopback."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HFValidationError

from maritalk_vllm.weights import huggingface
from maritalk_vllm.weights.huggingface_client import is_hub_error
from tests.answering import Request, answering
from tests.cli.test_config import run_tool
from tests.weights import archives
from tests.weights.hub import COMMIT, NAME, hub_answer

WEIGHTS = 3_000_000
MAX_BYTES = 32 << 20
"""The limit on responses other than weights."""


def endless(request: Request, **headers: object) -> None:
    request.begin(200, connection="close", **headers)
    request.close_connection = True
    while True:
        request.wfile.write(bytes(1 << 16))


def lying(request: Request) -> bool:
    """The list and the headers give a size, but the body is endless."""
    if request.command == "GET" and "model.safetensors" in request.path:
        endless(request, etag='"0"', x_repo_commit=COMMIT)
    return False


def long_list(request: Request) -> bool:
    if "/api/" in request.path:
        endless(request, content_type="application/json")
    return False


def redirecting(location: str) -> Callable[[Request], bool]:
    def redirect(request: Request) -> bool:
        if "config.json" in request.path or "/api/" in request.path:
            request.begin(302, location=location, connection="close")
            request.close_connection = True
            return True
        return False

    return redirect


def long_redirect(request: Request) -> bool:
    if "/api/" in request.path:
        request.begin(302, location="/elsewhere", connection="close")
        request.close_connection = True
        while True:
            request.wfile.write(bytes(1 << 16))
    return False


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (lying, f"{NAME} should have 0.0 GB to download, and Hugging Face sends more"),
        (long_list, "Hugging Face sends more than a model's files have"),
        (long_redirect, "Hugging Face sends more than a model's files have"),
        (redirecting("file:///etc/passwd"), "Hugging Face redirects to an address of file://"),
        (redirecting("/api/again"), f"{NAME} cannot be downloaded from Hugging Face: "),
    ],
)
def test_malicious_download(first: Callable[[Request], bool], message: str, tmp_path: Path) -> None:
    folder = archives.model(tmp_path / "model", WEIGHTS)
    answer = hub_answer(folder)
    with answering(lambda request: None if first(request) else answer(request)) as server:
        result = run_tool("download", "--model", NAME, HF_HOME=str(tmp_path / "home"), HF_ENDPOINT=server.url)
    assert (result.returncode, result.stderr.count("\n")) == (6, 1), result.stderr
    assert message in result.stderr
    written = sum(file.stat().st_size for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert written < WEIGHTS + (1 << 20)


@pytest.mark.parametrize("where", ["config.json", "index.json", "a redirect"])
def test_malicious_plan(where: str, tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        if where == "a redirect":
            request.begin(302, location="file:///etc/passwd", content_length=0)
        elif request.path.endswith(where):
            endless(request)
        else:
            request.reply(200, json.dumps({"model_type": "llama"}).encode())

    with answering(answer) as server:
        result = run_tool(
            "plan", "--model", NAME, "--gpus", "1xL4", HF_HOME=str(tmp_path / "home"), HF_ENDPOINT=server.url
        )
    assert result.returncode == 9, result.stderr
    assert "Traceback" not in result.stderr
    message = "redirects to an address of file://" if where == "a redirect" else "sends more than a model's files have"
    assert message in f"{result.stdout}{result.stderr}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (httpx.ConnectTimeout("no answer"), True),
        (httpx.InvalidURL("no address"), True),
        (HFValidationError("no name"), True),
        (json.JSONDecodeError("no JSON", "", 0), True),
        (RuntimeError("Data processing error: of hf_xet"), True),
        (KeyError("a bug"), False),
        (TypeError("a bug"), False),
        (AttributeError("a bug"), False),
    ],
)
def test_errors_of_the_hub_are_distinguished_from_bugs(error: Exception, expected: bool) -> None:
    assert is_hub_error(error) == expected


def test_a_bug_is_not_reported_as_an_error_of_the_hub() -> None:
    def broken(step: str, done: int, total: int | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        huggingface.fetch(NAME, None, broken)
