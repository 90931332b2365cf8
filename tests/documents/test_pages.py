"""The documents: their links, files, commands and options exist."""

import hashlib
import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from maritalk_vllm.cli import serve, tools_app
from maritalk_vllm.cli.config_file import read_config
from tests.documents.pages import PAGES, ROOT, blocks, inline, links, make_targets, prose, read, steps
from tests.documents.unrun import UNRUN

OURS = {"maritalk-serve": serve.app, "maritalk-vllm": tools_app.app}


def anchors(page: str) -> set[str]:
    """The anchors that GitHub creates for the headings."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_has_a_target() -> None:
    missing = set()
    for page in PAGES:
        for link in links(page):
            name, _, anchor = link.partition("#")
            target = (ROOT / page).parent / name if name else ROOT / page
            place = str(target.resolve().relative_to(ROOT))
            if not target.exists():
                missing.add(place)
            elif anchor:
                assert anchor in anchors(place), f"{page}: {link}"
    assert missing == set()


def test_every_picture_of_a_diagram_belongs_to_a_page() -> None:
    """By the digest of its text, as scripts/diagrams names it. That script also removes the others."""
    texts = (block.text for page in PAGES for block in blocks(page) if block.language == "mermaid")
    drawn = {hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts}
    assert {picture.stem for picture in (ROOT / "docs" / "images" / "diagrams").iterdir()} <= drawn


def test_every_page_is_in_the_index() -> None:
    listed = {str(((ROOT / "docs") / link).resolve().relative_to(ROOT)) for link in links("docs/README.md")}
    assert set(PAGES) - {"docs/README.md"} <= listed


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_in_shell_blocks(page: str) -> None:
    for block in blocks(page):
        if block.language not in ("bash", "console", "sh"):
            assert not re.search(r"^\$ ", block.text, re.MULTILINE), block.text


@pytest.mark.parametrize("page", PAGES)
def test_named_commands_and_options_exist(page: str) -> None:
    """Targets of make, and our commands with their options, in the text and in blocks that are not run."""
    for code in (*inline(page), *(step.command for step in steps(page) if step.command in UNRUN)):
        first, *words = shlex.split(code) if code.startswith(("make ", "maritalk-")) else [""]
        if first == "make":
            assert {word for word in words if "=" not in word} <= make_targets(), code
        if first in OURS:
            assert parsed(first, words), code


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    """Files named by their path from the repository's root; `*` matches any part of a name."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    for code in inline(page):
        if re.fullmatch(r"[\w.*/-]+", code) and "/" in code and code.split("/")[0] in folders:
            assert any(ROOT.glob(code.rstrip("/"))), code


def parsed(name: str, words: list[str]) -> bool:
    """Whether our program accepts the subcommand and every option. With --help it ignores the values."""
    ours = words[: words.index("--") if "--" in words else None]
    # These act before the help is printed: one of them would write into the home folder.
    words = [word for word in ours if word not in ("...", "--version", "--install-completion")]
    try:
        with redirect_stdout(io.StringIO()) as printed:
            OURS[name]([*words, "--help"], prog_name=name, standalone_mode=False)
    except Exception as error:
        raise AssertionError(f"{name} {words}: {error}") from error
    return printed.getvalue().startswith("Usage: ")


def test_the_documented_configuration_file_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "maritalk.yaml"
    for block in blocks("docs/options.md"):
        if block.language == "yaml":
            file.write_text(block.text)
            assert read_config(file).values["time_unit"] == "s"


def test_the_table_has_exactly_the_tested_clients() -> None:
    """Each published client with each tested version."""
    lines = (ROOT / "requirements" / "clients.in").read_text().splitlines()
    asked = {tuple(line.split(" ;")[0].split("==")) for line in lines if not line.startswith("#")}
    table = re.search(r"^\| client \| versions .*?\n\n", read("docs/clients.md"), re.MULTILINE | re.DOTALL)
    assert table is not None
    written = set()
    for line in table[0].splitlines()[2:]:
        if line:
            _, client, versions, *_ = line.split("|")
            written |= {(client.split(",")[0].strip(), version.strip()) for version in versions.split(",")}
    assert written == asked
