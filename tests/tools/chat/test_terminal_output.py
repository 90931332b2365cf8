"""What reaches a terminal, and what a file."""

import io

import pytest

from maritalk_vllm.tools.chat.terminal_output import TerminalOutput


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO) -> str:
    screen = TerminalOutput(out, out, labelled=True)
    screen.begin()
    screen.piece("a\x1b[2Jb\x9bc\td\n")
    screen.end()
    screen.note("n")
    return out.getvalue()


def test_a_file_has_the_answer_as_it_came_and_no_colours() -> None:
    assert shown(io.StringIO()) == "MariTalk: a\x1b[2Jb\x9bc\td\nn\n"


def test_an_answer_cannot_move_the_cursor_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert shown(Terminal()) == "\x1b[1mMariTalk: \x1b[0ma\ufffd[2Jb\ufffdc\td\n\x1b[2mn\x1b[0m\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(name, value)
    assert shown(Terminal()) == "MariTalk: a\ufffd[2Jb\ufffdc\td\nn\n"


def test_what_follows_an_answer_begins_a_line() -> None:
    out = io.StringIO()
    screen = TerminalOutput(out, out, labelled=False)
    for text in ("a", "a\n", ""):
        screen.begin()
        screen.piece(text)
        screen.error("e")
        screen.end()
    assert out.getvalue() == "a\ne\na\ne\n\ne\n"
