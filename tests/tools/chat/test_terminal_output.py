"""Output to a terminal and to a file."""

import io

import pytest

from maritalk_vllm.tools.chat.terminal_output import TerminalOutput


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def output_of(out: io.StringIO) -> str:
    screen = TerminalOutput(out, out, labelled=True)
    screen.begin()
    screen.piece("a\x1b[2Jb\x9bc\td\n")
    screen.end()
    screen.note("n")
    return out.getvalue()


def test_file_output_is_verbatim_without_colours() -> None:
    assert output_of(io.StringIO()) == "MariTalk: a\x1b[2Jb\x9bc\td\nn\n"


def test_control_characters_are_replaced_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output_of(Terminal()) == "\x1b[1mMariTalk: \x1b[0ma\ufffd[2Jb\ufffdc\td\n\x1b[2mn\x1b[0m\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_with_no_color_or_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    assert output_of(Terminal()) == "MariTalk: a\ufffd[2Jb\ufffdc\td\nn\n"


def test_notes_start_on_a_new_line() -> None:
    out = io.StringIO()
    screen = TerminalOutput(out, out, labelled=False)
    for text in ("a", "a\n", ""):
        screen.begin()
        screen.piece(text)
        screen.error("e")
        screen.end()
    assert out.getvalue() == "a\ne\na\ne\n\ne\n"
