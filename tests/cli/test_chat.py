"""`maritalk-vllm chat` over pipes, with a fake server."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.answering import answering
from tests.cli.test_serve import LIGHT
from tests.commands import run, start
from tests.serving import BIN
from tests.terminals import terminal
from tests.tools.chat.fake_server import fake_server, reply


def chat(*arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    variables = {**os.environ, **environment}
    return run("maritalk-vllm", "chat", *arguments, input=stdin, errors="surrogateescape", env=variables)


def test_each_line_is_a_question_and_stdout_has_only_answers() -> None:
    """Also with a byte that is not valid UTF-8."""
    with fake_server() as (model, server):
        result = chat("--url", f"{server.url}/", "--system", "s", stdin="um\n\n\udcffdois")
        assert [message["content"] for message in model.requests_received[1]["messages"]] == [
            "s",
            "um",
            "um",
            "\ufffddois",
        ]
    assert (result.returncode, result.stdout, result.stderr) == (0, "um\n\ufffddois\n", "")


def test_whole_input_as_one_question() -> None:
    with fake_server() as (model, server):
        result = chat("--whole", stdin="/um\ndois\n", MARITALK_URL=server.url)
        assert model.requests_received[0]["messages"] == [{"role": "user", "content": "/um\ndois"}]
    assert (result.returncode, result.stdout) == (0, "/um dois\n")


def test_parameters() -> None:
    with fake_server() as (model, server):
        chat("--parameters", "temperature=0 'stop_sequences=[\"a b\"]'", stdin="um\n", MARITALK_URL=server.url)
        wrong = chat("--parameters", "top_p=3", stdin="um\n", MARITALK_URL=server.url)
        (sent,) = model.requests_received
    assert (sent["temperature"], sent["stop_sequences"]) == (0, ["a b"])
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("maritalk-vllm: Invalid value for top_p: expected a number, ")


def test_failed_question_sets_the_exit_code() -> None:
    with fake_server(context=520) as (_, server):
        result = chat("--url", server.url, stdin=f"um\n{'b ' * 20}\ndois\n")
    assert (result.returncode, result.stdout) == (1, "um\ndois\n")
    assert result.stderr == "The prompt has 22 tokens.\n"


def test_no_server() -> None:
    result = chat("--url", "http://127.0.0.1:9", "--lang", "pt", stdin="um\n")
    assert result.returncode == 1
    assert result.stderr.startswith("Nenhum servidor responde em http://127.0.0.1:9. Inicie um com `maritalk-serve`")


def test_error_of_the_server_is_in_the_language_of_the_chat() -> None:
    text = {"error": "This API key is not one of this server's. Check it, or ask the server's administrator."}
    with answering(lambda request: reply(request, 401, text)) as server:
        result = chat("--url", server.url, "--lang", "pt", stdin="um\n")
    assert result.stderr == (
        "Esta chave de API não é deste servidor. Confira a chave ou fale com quem administra o servidor. "
        "Informe-a com --api-key ou MARITALK_API_KEY.\n"
    )


def test_no_server_at_a_terminal() -> None:
    """It is an error before the first prompt."""
    command = shlex.join([str(BIN / "maritalk-vllm"), "chat", "--url", "http://127.0.0.1:9", "--lang", "pt"])
    with terminal(f"{command}; echo rc=$?", {"PATH": os.environ["PATH"]}) as window:
        window.wait_for("rc=1")
        screen = " ".join(window.screen().split())
    assert screen.startswith("maritalk-vllm: Nenhum servidor responde em http://127.0.0.1:9. Inicie um com")
    assert "Ctrl-D" not in screen


def test_api_key_from_the_flag_or_the_environment() -> None:
    with fake_server() as (model, server):
        chat("--url", server.url, "--api-key", "flag", stdin="um\n", MARITALK_API_KEY="one two")
        chat("--url", server.url, stdin="um\n", MARITALK_API_KEY="one two")
    assert [headers["authorization"] for headers in model.headers] == ["Bearer flag"] * 2 + ["Bearer one"] * 2


def test_closed_stdout_ends_without_an_error_message() -> None:
    with (
        fake_server() as (_, server),
        start("maritalk-vllm", "chat", "--url", server.url, stdin=-1, stdout=-1, stderr=-1) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("um\n")
        process.stdin.flush()
        assert process.stdout.readline() == "um\n"
        process.stdout.close()
        _, errors = process.communicate("dois\ntrês\n", timeout=30)
    assert (process.returncode, errors) == (1, "")


def test_terminal_input_with_redirected_output(tmp_path: Path) -> None:
    """Without the line editor, and without control codes in the output."""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "MARITALK_LANG") if name in os.environ}
    out = shlex.quote(str(tmp_path / "out"))
    with fake_server() as (_, server):
        command = shlex.join([str(BIN / "maritalk-vllm"), "chat", "--url", server.url])
        with terminal(f"{command} > {out}", environment) as window:
            window.wait_for_prompt()
            window.type("half")
            window.press("C-c")
            window.wait_for_prompt()
            window.enter("um")
            window.wait_for(">> um\n>>")
            window.press("C-d")
            window.wait_for("ended with 0")
    assert (tmp_path / "out").read_text() == "MariTalk: um\n"


def test_tab_completes_a_command(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment |= {"XDG_STATE_HOME": str(tmp_path), "TERM": "screen", "MARITALK_LANG": "en"}
    with fake_server() as (_, server):
        command = shlex.join([str(BIN / "maritalk-vllm"), "chat", "--url", server.url])
        with terminal(command, environment) as window:
            window.wait_for_prompt()
            window.type("/par")
            window.press("Tab")
            window.wait_for(">> /parameters")
            window.type(" max")
            window.press("Tab")
            window.wait_for(">> /parameters max_tokens=")
            window.type("7")
            window.press("Enter")
            window.wait_for("max_tokens  7")
            window.enter("/bye")
            window.wait_for("ended with 0")


def test_light_imports() -> None:
    """The command imports no engine and, without a terminal, no line editor."""
    argv = ["maritalk-vllm", "chat", "--url", "http://127.0.0.1:9"]
    code = LIGHT.format(argv=argv, module="tools_app").replace('"numpy"', '"numpy", "prompt_toolkit", "fastapi"')
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, input="um\n")
    assert "No server answers" in result.stderr
    assert "imported 0\n" in result.stderr
