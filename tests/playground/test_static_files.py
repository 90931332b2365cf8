"""What the page is made of: its sentences, what it names, and the libraries that it takes from elsewhere."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from maritalk_vllm.playground.static_files import STATIC, files

ROOT = Path(__file__).parent.parent.parent
STRINGS: dict[str, dict[str, str]] = json.loads((STATIC / "strings.json").read_text())
OWN = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor"]
SCRIPTS = {path.name: path.read_text() for path in OWN if path.suffix == ".js"}
INDEX = (STATIC / "index.html").read_text()
MOST_LINES = 300


def test_both_languages_say_the_same_things() -> None:
    assert STRINGS.keys() == {"pt", "en"}
    assert list(STRINGS["pt"]) == list(STRINGS["en"])
    for key, sentence in STRINGS["pt"].items():
        assert sentence and STRINGS["en"][key], key
        assert set(re.findall(r"{\w+}", sentence)) == set(re.findall(r"{\w+}", STRINGS["en"][key])), key


def test_every_sentence_is_there_and_is_said() -> None:
    code = "\n".join(SCRIPTS.values())
    asked = set(re.findall(r'data-(?:text|label|placeholder)="([^"]+)"', INDEX))
    asked |= set(re.findall(r'\bt\(\s*"([^"]+)"', code))
    assert asked <= STRINGS["pt"].keys()
    # Some are chosen among several, and some are put together of a group and a name that the server says.
    written = asked | set(re.findall(r'"([^"\n]+)"', code))
    groups = set(re.findall(r"\bt\([^)]*`(\w+\.)\$\{", code)) | {
        f"{name}." for name in re.findall(r'told\("(\w+)"', code)
    }
    assert groups == {"banner.", "settings.", "state.", "step."}
    unsaid = {key for key in STRINGS["pt"] if key not in written and not key.startswith(tuple(groups))}
    assert unsaid == set()


def test_steps_of_loading_are_those_that_the_server_tells() -> None:
    package = "\n".join(path.read_text() for path in (STATIC.parent.parent).rglob("*.py"))
    for key in STRINGS["en"]:
        if key.startswith("step.") and key != "step.loading":
            step = key.removeprefix("step.")
            assert re.search(rf'f?"{re.escape(step)}\b', package), step


class Tags(HTMLParser):
    """Notes what may not be in the page, and what it names."""

    def __init__(self) -> None:
        super().__init__()
        self.named: set[str] = set()
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.named |= {
            value for name in ("src", "href") if (value := attributes.get(name)) and not value.startswith("#")
        }
        handlers = [name for name in attributes if name.startswith("on") or name == "style"]
        if handlers or tag == "style" or (tag == "script" and "src" not in attributes):
            self.inline.append(self.get_starttag_text() or tag)


def test_the_page_names_its_own_files_alone_and_has_nothing_inline() -> None:
    tags = Tags()
    tags.feed(INDEX)
    assert tags.inline == []
    assert tags.named <= {f"chat/{name}" for name in files()}
    elsewhere = re.compile(r"(?:https?:)?//[\w-]+\.\w|@import|url\(")
    for path in OWN:
        text = path.read_text().replace("http://www.w3.org/", "")
        assert not elsewhere.search(text), path.name


def test_every_module_that_is_imported_is_there_and_every_one_is_used() -> None:
    named = {name for text in SCRIPTS.values() for name in re.findall(r'from "\.{1,2}/([^"]+)"', text)}
    assert {name.removeprefix("vendor/") for name in named if "vendor/" in name} == {"marked.esm.js", "purify.es.mjs"}
    own = {name for name in named if "vendor/" not in name}
    assert own | {"main.js", "early.js"} == SCRIPTS.keys()


def test_modules_are_asked_for_at_once() -> None:
    preloaded = re.findall(r'rel="modulepreload" href="chat/([^"]+)"', INDEX)
    modules = {f"js/{name}" for name in SCRIPTS if name != "early.js"}
    assert set(preloaded) == modules | {"vendor/marked.esm.js", "vendor/purify.es.mjs"}
    assert len(preloaded) == len(set(preloaded))


def test_icons_and_ids_that_the_code_asks_for_are_in_the_page() -> None:
    code = "\n".join(SCRIPTS.values())
    ids = set(re.findall(r'\bid="([^"]+)"', INDEX))
    assert set(re.findall(r'byId\("([^"]+)"\)', code)) <= ids
    icons = set(re.findall(r'\b(?:icon|iconButton)\("(\w+)"', code)) | set(re.findall(r'icon: "(\w+)"', code))
    assert {f"icon-{name}" for name in icons} | set(re.findall(r'href="#(icon-\w+)"', INDEX)) == {
        name for name in ids if name.startswith("icon-")
    }


def test_files_are_small() -> None:
    for path in OWN:
        assert len(path.read_text().splitlines()) <= MOST_LINES, path.name


def test_libraries_are_those_of_the_lock() -> None:
    packages = json.loads((ROOT / "requirements" / "page" / "package-lock.json").read_text())["packages"]
    for name, file in {"marked": "marked.esm.js", "dompurify": "purify.es.mjs"}.items():
        pinned = packages[f"node_modules/{name}"]
        assert pinned["integrity"].startswith("sha512-")
        head = (STATIC / "vendor" / file).read_text()[:300].lower()
        assert re.search(rf"{name} v?{re.escape(pinned['version'])}\b", head)


def test_libraries_are_what_npm_has() -> None:
    if shutil.which("npm") is None:
        pytest.skip("this machine has no npm")
    checked = subprocess.run([ROOT / "scripts" / "vendor", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
