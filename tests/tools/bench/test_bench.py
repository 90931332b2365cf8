"""`maritalk-vllm bench` on the real engine."""

import json
import os
import re
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from maritalk_vllm.tools.bench.api_formats import API_FORMATS
from tests.answering import Request, answering
from tests.commands import run
from tests.lanes import nightly
from tests.serving import UNREACHABLE_URL, Server

BY_DAY = {"chat-generate", "cloud-stream", "openai-chat-stream"}
"""One of each way to read an answer. The others differ from them in the path and the names of the fields."""


def bench(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", "bench", *arguments)


@pytest.mark.parametrize("wire", [wire if wire in BY_DAY else nightly(wire) for wire in API_FORMATS])
def test_each_api_format(shared_server: Server, tmp_path: Path, wire: str) -> None:
    out = tmp_path / "figures.json"
    url = f"http://127.0.0.1:{shared_server.port}"
    result = bench("--url", url, "--wire", wire, "--users", "1,2", "--requests", 2, "--max-tokens", 8, "--out", out)
    assert result.returncode == 0, result.stderr
    for load in json.loads(out.read_text())["loads"]:
        assert (load["requests"], load["failed"]) == (2, 0)
        assert load["generated_tokens_per_second"] > 0
        assert (load["time_to_first_token"] is not None) == API_FORMATS[wire].streamed


def test_open_loop_load(shared_server: Server) -> None:
    url = f"http://127.0.0.1:{shared_server.port}"
    result = bench("--url", url, "--rate", "20", "--requests", 10, "--max-tokens", 2, "--prompt", "review")
    assert result.returncode == 0, result.stderr
    assert "20/s" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--wire", "generat"), "Unknown API for --wire: generat. Did you mean generate?"),
        (("--url", "here"), "here is no address of a server."),
        (("--users", "1,x"), "--users 1,x is no list of numbers over 0."),
        (("--users", "0"), "--users 0 is no list"),
        (("--service-tier", "flex"), "Requests of this API name no service tier. Choose --wire openai-chat,"),
        (("--wire", "openai-chat", "--reference", "--service-tier", "flex"), "name no service tier."),
    ],
)
def test_errors_are_sentences_with_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    result = bench(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_numbers_and_titles_are_in_the_language() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    with answering(lambda request: request.reply(200, json.dumps({"usage": usage}).encode())) as server:
        result = bench("--url", server.url, "--wire", "openai-chat", "--rate", "50.5", "--requests", 2, "--lang", "pt")
    assert result.returncode == 0, result.stderr
    titles, numbers = result.stdout.splitlines()
    assert titles.endswith("por token     fila   prompt    geração fora do motor")
    assert len(titles) == len(numbers)
    assert re.match(r"    50,5/s +\d+,\d\d +\d+,\d +\d+,\d ms", numbers)


@pytest.mark.parametrize("arguments", [(), ("--reference",)])
def test_no_server(arguments: tuple[str, ...]) -> None:
    result = bench("--url", UNREACHABLE_URL, "--lang", "pt", *arguments)
    assert result.returncode == 1
    assert f"Nenhum servidor responde em {UNREACHABLE_URL}. Inicie um com" in result.stderr
    assert "Connect" not in result.stderr


def answer(request: Request) -> None:
    request.reply(200, json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode())


ONE_USER = ("--wire", "openai-chat", "--users", 1, "--requests", 1)


def test_a_private_certificate_authority_is_trusted_if_it_is_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with answering(answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://localhost:{server.server_port}"
        trusted = bench("--url", url, *ONE_USER, "--cacert", tmp_path / "ca.pem")
        unknown = bench("--url", url, *ONE_USER)
        reference = bench("--url", url, "--reference")
    assert trusted.returncode == 0, trusted.stderr
    for result in (unknown, reference):
        assert result.returncode == 1
        assert f"The certificate of {url} is not trusted: " in result.stderr
        assert "with --cacert FILE." in result.stderr


@pytest.mark.parametrize(("options", "key"), [((), "first"), (("--api-key", "other"), "other")])
def test_the_key_is_that_of_the_option_or_the_first_of_the_environment(options: tuple[str, ...], key: str) -> None:
    with answering(answer) as server:
        result = run(
            "maritalk-vllm",
            *("bench", "--url", server.url, *ONE_USER, *options),
            env={**os.environ, "MARITALK_API_KEY": "first second"},
        )
    assert result.returncode == 0, result.stderr
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {key}"}


def test_the_help_names_all_apis() -> None:
    for language, last in (("en", "or"), ("pt", "ou")):
        text = " ".join(bench("--help", "--lang", language).stdout.split())
        *others, final = API_FORMATS
        assert f"{', '.join(others)} {last} {final}." in re.sub(r"- (?=\w)", "-", text)


def test_the_service_tier_is_sent_with_each_request(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    out = tmp_path / "figures.json"
    with answering(lambda request: request.reply(200, json.dumps({"usage": usage}).encode())) as server:
        options = ("--wire", "openai-chat", "--service-tier", "flex", "--users", 1, "--requests", 2)
        result = bench("--url", server.url, *options, "--out", out)
    assert result.returncode == 0, result.stderr
    assert [json.loads(request.content)["service_tier"] for request in server.requests] == ["flex"] * 3
    assert json.loads(out.read_text())["service_tier"] == "flex"
