"""MkDocs hooks that build the site from the documents as a forge shows them.

The documents link to files outside of docs/, have an index of their own, and are written in GitHub's Markdown. The
hooks derive the navigation from the indexes, add the pages and files that lie elsewhere below `project/`, and rewrite
links. Each page links to its translation, or to itself on the site of the other language.
"""

import hashlib
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
INDEX = {"en": "docs/README.md", "pt": "docs/documentos.md"}
NAMES = {"en": "English", "pt": "Português"}
ONLY_ENGLISH = "Em inglês"
DIAGRAMS = "docs/images/diagrams"

_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OTHER_LANGUAGE = re.compile(r"^\[(?:Português|English)\]\((\S+)\)$", re.MULTILINE)
_ITEM = re.compile(r"(?:[-*]|\d+\.) +")


def language(config: MkDocsConfig) -> str:
    return str(config.theme["language"])[:2]


def read(place: str) -> str:
    return (ROOT / place).read_text(encoding="utf-8")


def target(place: str, link: str) -> str:
    """The path, from the repository's root, to which a document links."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def in_site(place: str) -> str:
    """Where the site has this file of the repository."""
    return place.removeprefix("docs/") if place.startswith("docs/") else f"project/{place}"


def is_published(place: str) -> bool:
    """Whether the site has this file; it has no folders, and MkDocs leaves out hidden ones."""
    return (ROOT / place).is_file() and not place.startswith(".")


def in_repository(uri: str) -> str:
    return uri.removeprefix("project/") if uri.startswith("project/") else f"docs/{uri}"


def sections(index: str) -> dict[str, list[str]]:
    """The documents of each section of an index, whose tables begin each section with a row in bold."""
    found: dict[str, list[str]] = {}
    for line in read(index).splitlines():
        if heading := re.match(r"\| \*\*(.+)\*\* \|", line):
            found[heading[1]] = []
        elif line.startswith("| [") and found:
            pages = [target(index, link) for _, link, _ in _LINK.findall(line.split(" | ")[0]) if link.endswith(".md")]
            found[[*found][-1]] += pages
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation."""
    english, portuguese = sections(INDEX["en"]), sections(INDEX["pt"])
    translations = {page for pages in portuguese.values() for page in pages}
    originals = {translation(page) for page in translations}
    if language(config) == "en":
        wanted = {name: [page for page in pages if page not in translations] for name, pages in english.items()}
    else:
        rest = [page for pages in english.values() for page in pages if page not in translations | originals]
        wanted = {**portuguese, ONLY_ENGLISH: rest}
    home = in_site(INDEX[language(config)])
    config.nav = [home, *({name: [entry(page) for page in pages]} for name, pages in wanted.items())]
    return config


def entry(place: str) -> str | dict[str, str]:
    """A page in the navigation, by its heading; the README has the heading of the site."""
    return {"README": in_site(place)} if place.startswith("README") else in_site(place)


def translation(place: str) -> str:
    """The same document in the other language; itself if there is none."""
    links = _OTHER_LANGUAGE.findall("".join(read(place).splitlines(keepends=True)[:4]))
    return target(place, links[0]) if links else place


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that documents link to, and put the index of the site's language at its root."""
    if language(config) == "pt":
        for index in INDEX.values():
            file = files.get_file_from_path(in_site(index))
            assert file is not None
            files.remove(file)
        home = File.generated(config, in_site(INDEX["pt"]), abs_src_path=str(ROOT / INDEX["pt"]))
        home.dest_uri = "index.html"
        files.append(home)
    else:
        file = files.get_file_from_path(in_site(INDEX["pt"]))
        assert file is not None
        files.remove(file)
    open_ = [file.src_uri for file in files.documentation_pages()]
    while open_:
        place = in_repository(open_.pop())
        for _, link, _ in _LINK.findall(_FENCE.sub("", read(place))):
            linked = target(place, link)
            if "://" not in link and not linked.startswith("docs/") and is_published(linked):
                uri = in_site(linked)
                if files.get_file_from_path(uri) is None:
                    files.append(File.generated(config, uri, abs_src_path=str(ROOT / linked)))
                    open_ += [uri] if uri.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links and lists, and show diagrams as pictures."""
    place, own = in_repository(page.file.src_uri), language(config)
    other = INDEX["pt" if own == "en" else "en"]

    def link(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2], match[3] or ""
        if "://" in path or path.startswith("mailto:"):
            return match[0]
        linked = target(place, path)
        if linked == other:
            linked = INDEX[own]
        if not is_published(linked):
            return text
        return f"[{text}]({posixpath.relpath(in_site(linked), posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    def picture(match: re.Match[str]) -> str:
        name = f"{DIAGRAMS}/{digest(match[1])}.svg"
        if not (ROOT / name).exists():
            return match[0]
        return f"![diagram]({posixpath.relpath(name, posixpath.dirname(place) or '.')})"

    markdown = _OTHER_LANGUAGE.sub("", markdown, count=1)  # the head of the page has this link
    return lists(_outside_of_fences(_DIAGRAM.sub(picture, markdown), lambda text: _LINK.sub(link, text)))


def digest(diagram: str) -> str:
    """The name of a diagram's picture, which `scripts/diagrams` makes."""
    return hashlib.sha256(diagram.encode()).hexdigest()[:16]


def _outside_of_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(markdown[end:])])


def lists(markdown: str) -> str:
    """Indent what list items contain by four spaces, and separate lists from paragraphs: Python-Markdown's rules."""
    lines, width, fenced = list[str](), 0, False
    for line in markdown.splitlines():
        item = None if fenced else _ITEM.match(line)
        if item:
            if not width and lines and lines[-1]:
                lines.append("")
            width = item.end()
        elif width and line.startswith(" " * width):
            line = "    " + line[width:]
        elif line and not fenced:
            width = 0
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(line)
    return "\n".join(lines) + "\n"


def on_page_context(context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation) -> dict[str, Any]:
    """Give the template the page's address in the other language."""
    own = language(config)
    other = "pt" if own == "en" else "en"
    place = in_repository(page.file.src_uri)
    counterpart = INDEX[other] if place == INDEX[own] else translation(place)
    address = "index.html" if counterpart == INDEX[other] else _address(in_site(counterpart))
    root = "pt" if other == "pt" else ".."
    link = posixpath.relpath(f"{root}/{address}", posixpath.dirname(page.url) or ".")
    context["other_language"] = {"code": other, "name": NAMES[other], "link": link}
    return context


def _address(uri: str) -> str:
    folder, name = posixpath.split(uri)
    name = "index.html" if name == "README.md" else name.removesuffix(".md") + ".html"
    return posixpath.join(folder, name)
