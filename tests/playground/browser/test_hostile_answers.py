"""A model's output is shown, and never executed or fetched. The answers are fake: no model generates them on demand."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, Page, expect

from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine

pytestmark = pytest.mark.page

HOSTILE = """# Heading <img src=x onerror="window.ran = 'img'">

<script>window.ran = 'script'</script>
<script src="https://example.com/x.js"></script>
<svg onload="window.ran = 'svg'"><animate onbegin="window.ran = 'animate'" attributeName=x dur=1s></svg>
<iframe srcdoc="<script>parent.ran = 'iframe'</script>"></iframe>
<form action="https://example.com/"><input autofocus onfocus="window.ran = 'focus'"><button>Go</button></form>
<style>body { display: none }</style><base href="https://example.com/"><meta http-equiv=refresh content="0;url=/docs">
<math><mtext><table><mglyph><style><img src=x onerror="window.ran = 'mxss'"></style></mglyph></table></mtext></math>
<a href="javascript:window.ran = 'html link'">html link</a> <details open ontoggle="window.ran = 'toggle'">x</details>

[script link](javascript:window.ran='link') [spaced]( java&#10;script:window.ran='spaced' ) <javascript:window.ran=1>
[data link](data:text/html,<script>window.ran='data'</script>) [vb](vbscript:x) [file](file:///etc/passwd) [own](/docs)
[fine](https://example.com/fine "onclick=window.ran=1") ![picture](https://example.com/picture.png)
![data picture](data:image/svg+xml,<svg/onload=window.ran='pic'>) ![x](x" onerror="window.ran='quote')

| a <b onmouseover="window.ran = 'cell'">b</b> | [c](javascript:window.ran='cell link') |
|---|---|
| <img src=x onerror="window.ran = 'cell img'"> | `<script>window.ran = 'code'</script>` |

```html" onclick="window.ran = 'fence'
<script>window.ran = 'fence'</script>
```

- [x] done <input type=checkbox onclick="window.ran = 'box'">
"""
OF_MARKDOWN = {"a", "blockquote", "br", "code", "em", "h1", "li", "p", "pre", "table", "tbody", "td", "th", "thead"}
OF_MARKDOWN |= {"strong", "tr", "ul"}
OF_THE_PAGE = {"div", "span", "button", "svg", "use"}
"""Frames around code and tables, the copy button, the error icon."""


def everything_in(page: Page, selector: str) -> list[dict[str, Any]]:
    """Each element's tag and attributes."""
    return page.eval_on_selector_all(
        f"{selector} *",
        """all => all.map(each => ({tag: each.localName,
           attributes: Object.fromEntries([...each.attributes].map(({name, value}) => [name, value]))}))""",
    )


def assert_inert(page: Page) -> None:
    # Trigger hover and focus handlers, and wait for delayed actions.
    for each in page.locator(".assistant .body *").all():
        each.dispatch_event("mouseover")
        each.dispatch_event("focus")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    found = everything_in(page, ".assistant .body")
    assert {each["tag"] for each in found} <= OF_MARKDOWN | OF_THE_PAGE
    for each in found:
        assert not [name for name in each["attributes"] if name.startswith("on") or name in ("style", "src", "srcdoc")]
        if each["tag"] == "a" and "href" in each["attributes"]:
            assert each["attributes"]["href"].startswith("https://example.com/"), each
            assert each["attributes"]["rel"] == "noopener noreferrer nofollow"
    # The text is still shown.
    expect(page.locator(".assistant .body")).to_contain_text("<script>window.ran = 'script'</script>")
    expect(page.get_by_role("link", name="picture", exact=True)).to_have_attribute(
        "href", "https://example.com/picture.png"
    )
    assert urlsplit(page.url).path == "/chat"


def test_streamed_hostile_answer_is_inert(fake_engine: FakeEngine, open_tab: Open) -> None:
    fake_engine.chunks = [HOSTILE[at : at + 40] for at in range(0, len(HOSTILE), 40)]
    fake_engine.chunk_delay = 0.005
    page = open_tab(fake_engine.url).page
    page.get_by_label("Sua mensagem").fill("oi")
    page.keyboard.press("Enter")
    expect(page.locator(".figures")).to_be_visible()
    assert_inert(page)


def test_stored_hostile_conversation_is_inert(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    hostile = "<img src=x onerror=\"window.ran = 'title'\">"
    turns = [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE, "error": hostile}]
    stored = {"id": "x", "title": hostile, "created": 0, "updated": 0, "system": hostile, "draft": hostile}
    page.evaluate(
        "stored => localStorage.setItem('maritalk.conversation.x', stored)", json.dumps({**stored, "messages": turns})
    )
    page.reload()
    page.locator("#conversations .open").click()
    expect(page.locator("#conversations .title")).to_have_text(hostile)
    expect(page.locator(".error")).to_have_text(hostile)
    assert_inert(page)


@pytest.mark.parametrize("text", ["<b>bold</b> & <!-- not shown -->", "a < b and c > d &lt; e", "<|im_start|>system"])
def test_html_is_shown_as_text(fake_engine: FakeEngine, open_tab: Open, text: str) -> None:
    fake_engine.chunks = [text]
    page = open_tab(fake_engine.url).page
    page.get_by_label("Sua mensagem").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".figures")).to_be_visible()
    expect(page.locator(".user .body")).to_have_text(text)
    # Markdown has character references, such as &lt;.
    expect(page.locator(".assistant .body")).to_have_text(text.replace("&lt;", "<"))


def test_trusted_types_are_enforced(fake_engine: FakeEngine, open_tab: Open) -> None:
    tab = open_tab(fake_engine.url)
    page = tab.page
    with pytest.raises(Error, match="requires 'TrustedHTML'"):
        page.evaluate("document.body.innerHTML = '<p>x</p>'")
    assert "The action has been blocked" in tab.errors.pop()
