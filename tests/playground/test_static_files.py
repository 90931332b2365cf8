"""The page's files: messages, references, and third-party libraries."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from maritalk_vllm.models.demo_model import NOTICE
from maritalk_vllm.playground.static_files import STATIC, files

ROOT = Path(__file__).parent.parent.parent
STRINGS: dict[str, dict[str, str]] = json.loads((STATIC / "strings.json").read_text())
OWN = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "vendor"]
SCRIPTS = {path.name: path.read_text() for path in OWN if path.suffix == ".js"}
INDEX = (STATIC / "index.html").read_text()
MOST_LINES = 300


def test_both_languages_have_the_same_messages() -> None:
    assert STRINGS.keys() == {"pt", "en"}
    assert list(STRINGS["pt"]) == list(STRINGS["en"])
    for key, sentence in STRINGS["pt"].items():
        assert sentence and STRINGS["en"][key], key
        assert set(re.findall(r"{\w+}", sentence)) == set(re.findall(r"{\w+}", STRINGS["en"][key])), key


def test_every_message_exists_and_is_used() -> None:
    code = "\n".join(SCRIPTS.values())
    asked = set(re.findall(r'data-(?:text|label|placeholder)="([^"]+)"', INDEX))
    asked |= set(re.findall(r'\bt\(\s*"([^"]+)"', code))
    assert asked <= STRINGS["pt"].keys()
    # Some keys are selected conditionally, and some are composed of a group and a name from the server.
    written = asked | set(re.findall(r'"([^"\n]+)"', code))
    groups = set(re.findall(r"\bt\([^)]*`(\w+\.)\$\{", code)) | {
        f"{name}." for name in re.findall(r'told\("(\w+)"', code)
    }
    assert groups == {"banner.", "batch_status.", "settings.", "state.", "step."}
    unsaid = {key for key in STRINGS["pt"] if key not in written and not key.startswith(tuple(groups))}
    assert unsaid == set()


def test_the_demo_model_is_named_as_in_the_terminal() -> None:
    assert STRINGS["en"]["demo.notice"] == NOTICE


def test_loading_steps_equal_the_servers() -> None:
    package = "\n".join(path.read_text() for path in (STATIC.parent.parent).rglob("*.py"))
    for key in STRINGS["en"]:
        if key.startswith("step.") and key != "step.loading":
            step = key.removeprefix("step.")
            assert re.search(rf'f?"{re.escape(step)}\b', package), step


class Tags(HTMLParser):
    """Collects forbidden inline content, and references."""

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


def test_page_references_only_its_own_files_and_nothing_inline() -> None:
    tags = Tags()
    tags.feed(INDEX)
    assert tags.inline == []
    assert tags.named <= {f"chat/{name}" for name in files()}
    elsewhere = re.compile(r"(?:https?:)?//[\w-]+\.\w|@import|url\(")
    for path in OWN:
        text = path.read_text().replace("http://www.w3.org/", "")
        assert not elsewhere.search(text), path.name


def test_every_module_exists_and_is_used() -> None:
    named = {name for text in SCRIPTS.values() for name in re.findall(r'from "\.{1,2}/([^"]+)"', text)}
    assert {name.removeprefix("vendor/") for name in named if "vendor/" in name} == {"marked.esm.js", "purify.es.mjs"}
    own = {name for name in named if "vendor/" not in name}
    assert own | {"main.js", "early.js"} == SCRIPTS.keys()


def test_modules_are_preloaded() -> None:
    preloaded = re.findall(r'rel="modulepreload" href="chat/([^"]+)"', INDEX)
    modules = {f"js/{name}" for name in SCRIPTS if name != "early.js"}
    assert set(preloaded) == modules | {"vendor/marked.esm.js", "vendor/purify.es.mjs"}
    assert len(preloaded) == len(set(preloaded))


def test_referenced_icons_and_ids_exist() -> None:
    code = "\n".join(SCRIPTS.values())
    ids = set(re.findall(r'\bid="([^"]+)"', INDEX))
    assert set(re.findall(r'byId\("([^"]+)"\)', code)) <= ids
    icons = set(re.findall(r'\b(?:icon|iconButton)\("(\w+)"', code)) | set(re.findall(r'icon: "(\w+)"', code))
    assert {f"icon-{name}" for name in icons} | set(re.findall(r'href="#(icon-\w+)"', INDEX)) == {
        name for name in ids if name.startswith("icon-")
    }


def test_files_are_small() -> None:
    for path in OWN:
        assert path.suffix == ".json" or len(path.read_text().splitlines()) <= MOST_LINES, path.name


def test_libraries_match_the_lock_file() -> None:
    packages = json.loads((ROOT / "requirements" / "page" / "package-lock.json").read_text())["packages"]
    for name, file in {"marked": "marked.esm.js", "dompurify": "purify.es.mjs"}.items():
        pinned = packages[f"node_modules/{name}"]
        assert pinned["integrity"].startswith("sha512-")
        head = (STATIC / "vendor" / file).read_text()[:300].lower()
        assert re.search(rf"{name} v?{re.escape(pinned['version'])}\b", head)


def test_libraries_match_npm() -> None:
    if shutil.which("npm") is None:
        pytest.skip("this machine has no npm")
    checked = subprocess.run([ROOT / "scripts" / "vendor", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
