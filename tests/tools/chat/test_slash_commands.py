"""Slash commands."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.i18n.language import Language, choose
from maritalk_vllm.tools.chat.slash_commands import COMMANDS, completions
from tests.tools.chat.chatting import chat_with_fake_server


@pytest.fixture(autouse=True)
def reset_language() -> Iterator[None]:
    yield
    choose(Language.ENGLISH)


def test_help_lists_every_command_with_both_names() -> None:
    with chat_with_fake_server() as chat:
        assert chat.send("/help")
    first, *_ = chat.notes.getvalue().splitlines()
    assert first.split() == ["/help,", "/ajuda,", "/?", "Show", "the", "commands."]
    assert all(name in chat.notes.getvalue() for command in COMMANDS for name in command.names)
    assert max(map(len, chat.notes.getvalue().splitlines())) <= 80
    assert chat.out.getvalue() == "", "in a pipe, stdout is for answers"


def test_interactive_command_output_goes_to_stdout() -> None:
    with chat_with_fake_server(interactive=True) as chat:
        chat.send("/help")
    assert chat.out.getvalue().startswith("/help, /ajuda")
    assert chat.notes.getvalue() == ""


def test_in_portuguese() -> None:
    choose(Language.PORTUGUESE)
    with chat_with_fake_server() as chat:
        assert not chat.send("/ajuda", "/PARÂMETROS", "/temps")
    assert chat.notes.getvalue().startswith("/ajuda, /help")
    assert max(map(len, chat.notes.getvalue().splitlines())) <= 80
    assert chat.notes.getvalue().endswith("\nNão existe o comando /temps. Você quis dizer /tempos?\n")


@pytest.mark.parametrize("leave", ["/exit", "/sair", "/quit", "/bye"])
def test_leaving(leave: str) -> None:
    with chat_with_fake_server() as chat:
        assert chat.send(leave, "um")
        assert chat.model.requests_received == []


def test_question_mark_is_help() -> None:
    with chat_with_fake_server() as chat:
        assert chat.send("/help", "/?")
    half = len(chat.notes.getvalue()) // 2
    assert chat.notes.getvalue()[:half] == chat.notes.getvalue()[half:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/s", ["/system", "/save"]),
        ("/H", ["/help"]),
        ("/aj", ["/ajuda"]),
        ("/q", ["/quit"]),
        ("/x", []),
        ("/parameters max", ["max_tokens="]),
        ("/parametros top_k=1 to", ["top_p=", "top_k="]),
        ("/save max", []),
        ("he", []),
        ("what is /he", []),
        ("", []),
    ],
)
def test_completions(text: str, words: list[str]) -> None:
    assert sorted(completions(text)) == sorted(words)


def test_completions_in_portuguese_come_from_it_first() -> None:
    choose(Language.PORTUGUESE)
    assert completions("/s") == ["/sistema", "/salvar", "/sair"]
    assert completions("/he") == ["/help"]


@pytest.mark.parametrize(("clear", "system"), [("/clear", "/system"), ("/limpar", "/sistema")])
def test_system_message_and_clear(clear: str, system: str) -> None:
    with chat_with_fake_server() as chat:
        assert chat.send("um", f"{system} Be brief.", clear, "dois", system)
        assert [m["content"] for m in chat.model.requests_received[-1]["messages"]] == ["Be brief.", "dois"]
        assert chat.notes.getvalue().endswith("Be brief.\n")
        assert chat.send(f"{system} -", clear, "três", system)
        assert [m["content"] for m in chat.model.requests_received[-1]["messages"]] == ["três"]
    assert chat.notes.getvalue().endswith("There is no system message. /system TEXT sets one.\n")


def test_parameters_command() -> None:
    with chat_with_fake_server() as chat:
        assert chat.send("/parametros", "/parameters temperature=0.2 'stop_sequences=[\"a b\"]'", "um")
        assert chat.model.requests_received[0]["temperature"] == 0.2
        assert chat.model.requests_received[0]["stop_sequences"] == ["a b"]
        assert not chat.send("/parameters top_p=3", "/parameters 'x", "dois")
        assert "top_p" not in chat.model.requests_received[1]
    assert "temperature         0.7\n" in chat.notes.getvalue()
    assert 'temperature     0.2\nstop_sequences  ["a b"]\n' in chat.notes.getvalue(), "only the changed parameters"
    assert "Invalid value for top_p: expected a number, over 0, at most 1, got 3." in chat.notes.getvalue()
    assert "A quotation mark is not closed." in chat.notes.getvalue()


def test_times_command_toggles_the_times() -> None:
    line = "queue 0.000 s, prompt 0.038 s, generation 0.500 s; tokens: 7 of the prompt, {} of the answer"
    with chat_with_fake_server() as chat:
        chat.send("um", "/times", "um dois", "/tempos", "três")
    assert chat.out.getvalue() == "um\num dois\ntrês\n"
    assert chat.notes.getvalue().splitlines() == [
        line.format(1),
        "Each answer is followed by its times from now on.",
        f"{line.format(2)}; 2.0 tokens/s",
        f"{line.format(2)}; 2.0 tokens/s",
        "Answers are shown without timings from now on.",
    ]


def test_save_as_markdown(tmp_path: Path) -> None:
    file = tmp_path / "my chat.md"
    with chat_with_fake_server(system="Be brief.") as chat:
        assert chat.send("um", f"/save {file}")
    assert file.read_text() == "## System\n\nBe brief.\n\n## You\n\num\n\n## MariTalk\n\num\n"
    assert chat.notes.getvalue() == f"Written: {file}\n"


def test_save_titles_the_answers_of_other_models_by_their_names(tmp_path: Path) -> None:
    file = tmp_path / "demo.md"
    with chat_with_fake_server(model_name="demo") as chat:
        assert chat.send("um", f"/save {file}")
    assert file.read_text() == "## You\n\num\n\n## demo\n\num\n"


def test_save_as_json(tmp_path: Path) -> None:
    file = tmp_path / "chat.JSON"
    with chat_with_fake_server() as chat:
        assert chat.send("olá", "/parameters temperature=0", f"/salvar {file}")
    assert json.loads(file.read_text()) == {
        "messages": [{"role": "user", "content": "olá"}, {"role": "assistant", "content": "olá"}],
        "parameters": {"max_tokens": 512, "temperature": 0},
    }
    assert "olá" in file.read_text()


def test_save_overwrites_only_its_own_files(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    other.write_text("precious")
    with chat_with_fake_server() as chat:
        assert not chat.send("um", f"/save {mine}", "dois", f"/save {mine}", f"/save {other}", "/save")
        assert not chat.send(f"/save {tmp_path / 'absent' / 'x'}")
    assert "dois" in mine.read_text()
    assert other.read_text() == "precious"
    assert chat.notes.getvalue().splitlines() == [
        f"Written: {mine}",
        f"Written again, over the same file: {mine}",
        f"{other} already exists and is not overwritten. Give another name.",
        "There is no file named. Write /save FILE.",
        f"{tmp_path / 'absent' / 'x'} cannot be written: No such file or directory. Give another name.",
    ]
