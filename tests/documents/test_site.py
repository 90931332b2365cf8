"""The site of the documents builds strictly in both languages, and its pages load nothing from other hosts."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents.pages import PAGES, ROOT, links, prose

pytestmark = pytest.mark.deploy

MKDOCS = Path(sys.prefix) / "docs" / "bin" / "mkdocs"
"""In an environment of its own, which `make docs` creates."""
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


@dataclass
class Html(HTMLParser):
    """What a page loads, where it links to, and its text."""

    loads: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    other_languages: set[str] = field(default_factory=set)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if values.get(LOADING.get(tag, "")):
            self.loads.add(values[LOADING[tag]])
        if tag == "a" and "href" in values:
            (self.other_languages if "hreflang" in values else self.links).add(values["href"])

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for configuration, target in (("mkdocs.yml", folder), ("mkdocs.pt.yml", folder / "pt")):
        command: list[str | Path] = [
            MKDOCS,
            "build",
            "--strict",
            "--config-file",
            ROOT / configuration,
            "--site-dir",
            target,
        ]
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        )
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    found = {}
    for file in site.rglob("*.html"):
        found[file] = Html()
        found[file].feed(file.read_text(encoding="utf-8"))
    return found


def missing(file: Path, addresses: set[str]) -> set[str]:
    """The relative addresses on a page without a file."""
    places = {address: unquote(urlsplit(address).path) for address in addresses if not urlsplit(address).scheme}
    return {address for address, place in places.items() if place and not (file.parent / place).exists()}


def test_no_page_loads_anything_from_another_host(pages: dict[Path, Html], site: Path) -> None:
    for file, page in pages.items():
        assert page.loads
        assert {
            each for each in page.loads if urlsplit(each).scheme not in ("", "data") or urlsplit(each).netloc
        } == set()
        if file.name != "404.html":  # its addresses begin at the root of a server
            assert missing(file, page.loads) == set()
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_links_and_switches_between_languages_have_targets(pages: dict[Path, Html], site: Path) -> None:
    for file, page in pages.items():
        if file.name != "404.html":
            assert missing(file, page.links | page.other_languages) == set(), file
    assert pages[site / "getting-started.html"].other_languages == {"pt/primeiros-passos.html"}
    assert pages[site / "pt" / "primeiros-passos.html"].other_languages == {"../getting-started.html"}
    assert pages[site / "index.html"].other_languages == {"pt/index.html"}
    assert pages[site / "pt" / "project" / "README.pt-BR.html"].other_languages == {"../../project/index.html"}


def test_the_navigation_has_every_page_of_the_index(pages: dict[Path, Html], site: Path) -> None:
    """Translations are in that of the other language."""
    indexed = {link.removeprefix("../") for link in links("docs/README.md") if link.endswith(".md")}
    english = {each.rpartition("/")[2] for each in pages[site / "index.html"].links}
    portuguese = {each.rpartition("/")[2] for each in pages[site / "pt" / "index.html"].links}
    for page in indexed - {"README.md", "README.pt-BR.md", "documentos.md"}:
        assert page.replace(".md", ".html") in english | portuguese, page
    assert "primeiros-passos.html" in portuguese
    assert "planning.html" in english & portuguese  # in English alone


def test_lists_blocks_and_diagrams_are_rendered(pages: dict[Path, Html], site: Path) -> None:
    """GitHub's Markdown nests blocks in lists with fewer spaces than Python-Markdown."""
    for file, page in pages.items():
        assert "```" not in page.text, file
    migration = (site / "migration.html").read_text(encoding="utf-8")
    assert re.search(r"<ol>\s*<li>\s*<p>Try your programs.*?</p>\s*<div", migration, re.DOTALL)
    assert any("images/diagrams/" in each for each in pages[site / "project" / "index.html"].loads)


def test_the_search_works_without_a_server(site: Path) -> None:
    """From a file system, where a page may not request the index."""
    for folder in (site, site / "pt"):
        index = (folder / "search" / "search_index.js").read_text(encoding="utf-8")
        assert "Authentication" in index
    assert all(prose(page) for page in PAGES)
