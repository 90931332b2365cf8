"""Parse the documents: fenced blocks, commands with their output, headings, tables, links."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
TRANSLATIONS = {
    "README.md": "README.pt-BR.md",
    "docs/getting-started.md": "docs/primeiros-passos.md",
    "docs/google-cloud.md": "docs/nuvem-google.md",
    "docs/licences.md": "docs/licencas.md",
    "docs/migration.md": "docs/migracao.md",
    "docs/page.md": "docs/pagina.md",
    "docs/terminal.md": "docs/chat-no-terminal.md",
}
PORTUGUESE = [*TRANSLATIONS.values(), "docs/documentos.md", "docs/operacao.md"]
"""The last two are shorter than their originals."""
PAGES = [
    *("CONTRIBUTING.md", "SECURITY.md"),
    *(str(file.relative_to(ROOT)) for file in (*sorted(ROOT.glob("README*.md")), *sorted(ROOT.glob("docs/*.md")))),
]
ORIGINALS = [page for page in PAGES if page not in TRANSLATIONS.values()]
"""A translation's commands are compared with those of its original. Of both, what shows our output is run."""

_BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SHELL = ("bash", "console", "sh")
_PROMPT = "$ "


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, and its text without the indentation of a surrounding list."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a page without its comment, and its output if the page shows it."""

    command: str
    output: str | None = None


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """The page's text without fenced blocks."""
    return _BLOCK.sub("", read(page))


def blocks(page: str) -> list[Block]:
    return [Block(language, textwrap.dedent(text)) for _, language, text in _BLOCK.findall(read(page))]


def steps(page: str) -> list[Step]:
    """Every command of a page, in order."""
    return [step for block in blocks(page) if block.language in _SHELL for step in steps_of(block)]


def is_ours(step: Step) -> bool:
    """Whether the command is one of ours, whose messages are in the language of the page."""
    return step.command.startswith(("maritalk-serve ", "maritalk-vllm "))


def steps_of(block: Block) -> Iterator[Step]:
    """Every command of a shell block, in order."""
    lines = iter(block.text.splitlines())
    if block.language != "console":
        for line in lines:
            if command := _without_comment(_whole(line, lines)):
                yield Step(command)
        return
    command, output = "", list[str]()
    for line in lines:
        if line.startswith(_PROMPT):
            if command:
                yield Step(command, _text(output))
            command, output = _without_comment(_whole(line.removeprefix(_PROMPT), lines)), []
        else:
            assert command, f"a console block begins with a prompt, not with {line!r}"
            output.append(line)
    yield Step(command, _text(output))


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _whole(line: str, rest: Iterator[str]) -> str:
    """A command with its continuation lines: after a backslash, or within quotes."""
    while line.endswith("\\") or _is_open(line):
        line += "\n" + next(rest)
    return line


def _is_open(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


def _without_comment(command: str) -> str:
    quote, before = "", " "
    for at, sign in enumerate(command):
        if sign == "#" and before.isspace() and not quote:
            return command[:at].strip()
        if sign in "'\"" and quote in ("", sign):
            quote = "" if quote else sign
        before = sign
    return command.strip()


def headings(page: str) -> list[int]:
    """The level of each heading."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(page), re.MULTILINE)]


def tables(page: str) -> list[int]:
    """The number of each table's lines."""
    return [len(table.splitlines()) for table in re.findall(r"(?:^\|.*\|\n?)+", prose(page), re.MULTILINE)]


def links(page: str) -> list[str]:
    """The relative links, to files or to headings."""
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if "://" not in link]


def passages(page: str) -> Iterator[str]:
    """The paragraphs, items of lists, and tables; a table with the paragraph after it. Without line breaks."""
    table = ""
    for block in prose(page).split("\n\n"):
        if block.startswith("#"):
            yield table
            table = ""
        if block.lstrip().startswith("|") and not table:
            table = block
            continue
        for item in re.split(r"\n(?=- )", f"{table} {block}"):
            yield " ".join(item.split())
        table = ""
    yield table


def make_targets() -> set[str]:
    """The named targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))


def inline(page: str) -> list[str]:
    """The inline code of the text; a line break within it becomes a space."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]
