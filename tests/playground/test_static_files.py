"""The page's files: messages, references, and third-party libraries."""

import ast
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
STRINGS: dict[str, dict[str, str | dict[str, str]]] = json.loads((STATIC / "strings.json").read_text())
VENDOR = STATIC / "vendor"
OWN = [path for path in STATIC.rglob("*") if path.is_file() and VENDOR not in path.parents]
SCRIPTS = {path.name: path.read_text() for path in OWN if path.suffix == ".js"}
INDEX = (STATIC / "index.html").read_text()
MAX_LINES = 300


def test_both_languages_have_the_same_messages() -> None:
    assert STRINGS.keys() == {"pt", "en"}
    assert list(STRINGS["pt"]) == list(STRINGS["en"])
    for key in STRINGS["pt"]:
        forms = [form for table in STRINGS.values() for form in forms_of(table[key])]
        assert all(forms), key
        assert len({frozenset(re.findall(r"{\w+}", form)) for form in forms}) == 1, key


def forms_of(message: str | dict[str, str]) -> list[str]:
    """A message's singular and plural, or the message alone."""
    if isinstance(message, str):
        return [message]
    assert message.keys() == {"one", "other"}
    return list(message.values())


def test_every_message_exists_and_is_used() -> None:
    code = "\n".join(SCRIPTS.values())
    referenced = set(re.findall(r'data-(?:text|label|placeholder)="([^"]+)"', INDEX))
    referenced |= set(re.findall(r'\bt\(\s*"([^"]+)"', code))
    assert referenced <= STRINGS["pt"].keys()
    # Some keys are selected conditionally, and some are composed of a group and a name from the server.
    quoted = referenced | set(re.findall(r'"([^"\n]+)"', code))
    groups = set(re.findall(r"\bt\([^)]*`(\w+\.)\$\{", code)) | {
        f"{name}." for name in re.findall(r'labelOf\("(\w+)"', code)
    }
    assert groups == {"banner.", "batch_status.", "settings.", "state.", "step."}
    unused = {key for key in STRINGS["pt"] if key not in quoted and not key.startswith(tuple(groups))}
    assert unused == set()


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
    assert tags.named <= {"docs", *(f"chat/{name}" for name in files())}
    other_host = re.compile(r"(?:https?:)?//[\w-]+\.\w|@import|url\(")
    for path in OWN:
        text = path.read_text().replace("http://www.w3.org/", "")
        assert not other_host.search(text), path.name


def test_every_module_exists_and_is_used() -> None:
    named = {name for text in SCRIPTS.values() for name in re.findall(r'from "\.{1,2}/([^"]+)"', text)}
    loaded_later = {name for text in SCRIPTS.values() for name in re.findall(r'new URL\("\.\./(vendor/[^"]+)/"', text)}
    assert {VENDOR / "katex", VENDOR / "highlight"} == {STATIC / name for name in loaded_later}
    assert {name.removeprefix("vendor/") for name in named if "vendor/" in name} == {"marked.esm.js", "purify.es.mjs"}
    own = {name for name in named if "vendor/" not in name}
    assert own | {"main.js", "early.js"} == SCRIPTS.keys()


def test_modules_are_preloaded() -> None:
    preloaded = re.findall(r'rel="modulepreload" href="chat/([^"]+)"', INDEX)
    modules = {f"js/{name}" for name in SCRIPTS if name != "early.js"}
    assert set(preloaded) == modules | {"vendor/marked.esm.js", "vendor/purify.es.mjs"}
    assert len(preloaded) == len(set(preloaded))


def test_coloured_languages_are_those_of_the_copy() -> None:
    table = SCRIPTS["code_colors.js"].partition("const LANGUAGES = {")[2].partition("};")[0]
    copied = {path.name.removesuffix(".min.js") for path in (VENDOR / "highlight" / "languages").iterdir()}
    assert set(re.findall(r"^  (\w+):", table, re.MULTILINE)) == copied


def test_fonts_of_formulas_are_those_of_the_copy() -> None:
    styles = (VENDOR / "katex" / "katex.min.css").read_text()
    named = {f"fonts/{name}" for name in re.findall(r"url\(fonts/([\w-]+\.woff2)\)", styles)}
    assert named == {f"fonts/{path.name}" for path in (VENDOR / "katex" / "fonts").iterdir()}


def test_translated_errors_are_the_servers() -> None:
    """Each key is the text of an error in the package; the names of placeholders may differ."""
    package = "\n".join(path.read_text() for path in STATIC.parent.parent.rglob("*.py"))
    errors = [re.compile(re.sub(r"\\{.*?\\}", ".+", re.escape(text))) for text in texts_of(package)]
    for sentence, translations in json.loads((STATIC / "server_errors.json").read_text()).items():
        assert any(error.fullmatch(sentence) for error in errors), sentence
        for translation in translations.values():
            assert set(re.findall(r"{\w+}", translation)) <= set(re.findall(r"{\w+}", sentence)), sentence


def texts_of(code: str) -> set[str]:
    """All sentences in Python code, with `{}` for what an f-string fills in."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found.add("".join(map(str, parts)))
    return {text for text in found if " " in text and text.endswith(".") and "\n" not in text}


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
        assert path.suffix == ".json" or len(path.read_text().splitlines()) <= MAX_LINES, path.name


def test_libraries_match_the_lock_file() -> None:
    packages = json.loads((ROOT / "requirements" / "page" / "package-lock.json").read_text())["packages"]
    versions = {
        "marked": ("marked.esm.js", "marked v{}"),
        "dompurify": ("purify.es.mjs", "dompurify {}"),
        "@highlightjs/cdn-assets": ("highlight/core.min.js", "highlight.js v{}"),
        "katex": ("katex/katex.min.js", 'version:"{}"'),
    }
    for name, (file, version) in versions.items():
        pinned = packages[f"node_modules/{name}"]
        assert pinned["integrity"].startswith("sha512-")
        assert version.format(pinned["version"]) in (VENDOR / file).read_text().lower(), name


def test_libraries_match_npm() -> None:
    if shutil.which("npm") is None:
        pytest.skip("this machine has no npm")
    checked = subprocess.run([ROOT / "scripts" / "vendor", "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
