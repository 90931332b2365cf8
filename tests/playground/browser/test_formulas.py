"""Formulas and colours of code, from answers that are never executed. The answers are fake."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine
from tests.playground.browser.test_chat import send_and_wait
from tests.playground.browser.test_hostile_answers import everything_in

pytestmark = pytest.mark.page

FORMULAS = r"""Inline $E = mc^2$, \(\vec{x}\) and money: it costs R$ 5, R$5 or US$5 and US$ 7, from $10 to $20.

$$\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}$$

\[
\begin{pmatrix} a & b \\ c & d \end{pmatrix}
\]

\begin{align}
a &= b \\
&= c < d
\end{align}

`$x$`, and what KaTeX rejects: $\frac{1$.

1. a list: \(a_1\)
"""
HOSTILE = r"""
$\href{javascript:window.ran='href'}{x}$ $\url{javascript:window.ran='url'}$
$\includegraphics{https://example.com/x.png}$ $\htmlData{x=1}{y}$ $\htmlStyle{background:url(https://example.com)}{z}$
$\htmlClass{x" onmouseover="window.ran='class'}{c}$ $\text{<img src=x onerror="window.ran='text'">}$
$\text{ style="background:url(https://example.com/)" onload="window.ran='style'"}$
$\color{url(https://example.com/)}{x}$ $\def\x{\x\x}\x$ $\rule{9999em}{9999em}$
$x</code><script>window.ran='script'</script>$
"""


def answer(fake_engine: FakeEngine, page: Page, text: str, pieces: int = 1) -> Locator:
    size = -(-len(text) // pieces)
    fake_engine.chunks = [text[at : at + size] for at in range(0, len(text), size)]
    fake_engine.chunk_delay = 0.01
    send_and_wait(page, "oi")
    return page.locator(".assistant .body").last


@pytest.mark.parametrize("pieces", [1, 40])
def test_formulas_are_typeset(fake_engine: FakeEngine, open_tab: Open, pieces: int) -> None:
    """Without a request to another host, and without an error: `open_tab` asserts both."""
    page = open_tab(fake_engine.url).page
    body = answer(fake_engine, page, FORMULAS, pieces)
    shown = body.locator("span.formula")
    expect(shown).to_have_count(6)
    sources = [each.get_attribute("aria-label") or "" for each in shown.all()]
    assert sources[:3] == ["E = mc^2", r"\vec{x}", r"\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}"]
    assert [source.partition("}")[0] for source in sources[3:]] == [r"\begin{pmatrix", r"\begin{align", r"a_1"]
    expect(body).to_contain_text("it costs R$ 5, R$5 or US$5 and US$ 7, from $10 to $20.")
    expect(body.locator("code")).to_have_text(["$x$", r"\frac{1"])
    # The fonts are this server's, and styles are applied: a fraction is higher than a letter.
    page.evaluate("document.fonts.ready")
    assert page.evaluate("document.fonts.check('16px KaTeX_Math')")
    heights = [each.bounding_box()["height"] for each in shown.all()]
    assert heights[2] > 1.5 * heights[0]


def test_hostile_formulas_are_inert(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    body = answer(fake_engine, page, HOSTILE)
    expect(body.locator("span.formula").first).to_be_visible()
    for each in body.locator("*").all():
        each.dispatch_event("mouseover")
    page.wait_for_timeout(300)
    assert page.evaluate("window.ran") is None
    found = everything_in(page, ".assistant .body")
    assert {each["tag"] for each in found} <= {"p", "br", "code", "span", "svg", "path"}
    for each in found:
        assert not [name for name in each["attributes"] if name.startswith("on") or name in ("src", "href")]
        assert "url" not in each["attributes"].get("style", "")
    expect(body.locator("code.formula")).not_to_have_count(0)
    assert page.evaluate("document.body.scrollHeight") < 2000


def test_formula_library_is_loaded_with_the_first_formula(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    answer(fake_engine, page, "R$ 5, and no formula")
    assert not [url for url in urls if "vendor" in url]
    body = answer(fake_engine, page, "$x$")
    expect(body.locator("span.formula")).to_be_visible()
    assert f"{fake_engine.url}/chat/vendor/katex/katex.min.js" in urls


def test_code_is_coloured(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    code = "def f():\n    return '<b>' # note\n"
    body = answer(
        fake_engine, page, f"```py\n{code}```\n\n```html\n<i style='x'>&amp;</i>\n```\n\n```unknown\ndef\n```", 9
    )
    blocks = body.locator("pre code")
    expect(blocks.nth(0).locator(".hljs-keyword")).to_have_text(["def", "return"])
    expect(blocks.nth(0).locator(".hljs-string")).to_have_text("'<b>'")
    expect(blocks.nth(1).locator(".hljs-name")).to_have_text(["i", "i"])
    assert blocks.all_text_contents() == [code, "<i style='x'>&amp;</i>\n", "def\n"]
    expect(blocks.nth(2).locator("span")).to_have_count(0)
