// Formulas in Markdown: TeX in $…$, $$…$$, \(…\), \[…\] or an environment, typeset by KaTeX, which is loaded for the first
// formula. Until then, and if KaTeX rejects a formula, the page shows its source.

import DOMPurify from "../vendor/purify.es.mjs";
import { el } from "./dom.js";
import { escaped } from "./escaped.js";

const KATEX = new URL("../vendor/katex/", import.meta.url);
const MAX_CHARACTERS = 2000;
const OPTIONS = {
  // A model's answer is untrusted: no links, images or HTML, and limits for macros and sizes.
  trust: false,
  maxExpand: 200,
  maxSize: 20,
  strict: "ignore",
  throwOnError: true,
  output: "html",
};
const ALLOWED = {
  ALLOWED_TAGS: ["span", "svg", "path", "line"],
  ALLOWED_ATTR: [
    ...["class", "data-style", "d", "height", "preserveAspectRatio", "stroke-width", "viewBox", "width"],
    ...["x1", "x2", "y1", "y2"],
  ],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ADD_URI_SAFE_ATTR: ["data-style", "d", "preserveaspectratio", "viewbox"],
  RETURN_DOM_FRAGMENT: true,
};

const INLINE = [
  { pattern: /^\$\$((?:\\.|[^\\$]){1,2000}?)\$\$/s, display: true },
  { pattern: /^\\\[(.{1,2000}?)\\\]/s, display: true },
  { pattern: /^\\\((.{1,2000}?)\\\)/s, display: false },
  // As in Pandoc: no space inside the dollar signs and no digit after them, so that amounts of money are not formulas.
  { pattern: /^\$(?![\s$])((?:\\.|[^\\$\n]){1,2000}?)(?<!\s)\$(?![\p{L}\p{N}])/u, display: false },
];
const ENVIRONMENT = /^\\begin\{((?:align|alignat|equation|gather)\*?)\}.{1,2000}?\\end\{\1\}/s;
const NO_FORMULA_AFTER = /[\p{L}\p{N}$\\]$/u;

/** Extensions for marked. Each renders the source of a formula, which `typesetFormulas` replaces. */
export const FORMULAS = [
  {
    name: "formula",
    level: "inline",
    start: (text) => text.search(/\$|\\[([]/),
    tokenizer(text, tokens) {
      if (text[0] === "$" && NO_FORMULA_AFTER.test(tokens.at(-1)?.raw ?? "")) return undefined;
      return token("formula", text, INLINE);
    },
    renderer: source,
  },
  {
    name: "formulaBlock",
    level: "block",
    start: (text) => text.match(/^(?:\$\$|\\\[|\\begin\{)/m)?.index,
    tokenizer(text) {
      const environment = ENVIRONMENT.exec(text);
      if (environment) return { type: "formulaBlock", raw: environment[0], text: environment[0], display: true };
      const found = token("formulaBlock", text, INLINE.slice(0, 2));
      // With more text in the same line, it is part of a paragraph.
      return found && /^[^\S\n]*(?:\n|$)/.test(text.slice(found.raw.length)) ? found : undefined;
    },
    renderer: (token) => `<p>${source(token)}</p>\n`,
  },
];

function token(type, text, forms) {
  for (const { pattern, display } of forms) {
    const found = pattern.exec(text);
    if (found) return { type, raw: found[0], text: found[1].trim(), display };
  }
  return undefined;
}

function source({ text, display }) {
  return `<code class="formula${display ? " display" : ""}">${escaped(text)}</code>`;
}

let loading = null;
let katex = null;

/** Typeset the formulas in an element. If KaTeX is not loaded yet, all formulas of the page are typeset once it is. */
export function typesetFormulas(root) {
  const found = root.querySelectorAll("code.formula");
  if (!found.length) return;
  if (katex) {
    found.forEach(typeset);
    return;
  }
  loading ??= load().catch(() => (loading = null));
  loading.then(() => katex && document.querySelectorAll("code.formula").forEach(typeset));
}

async function load() {
  const style = new Promise((resolve, reject) => {
    document.head.append(el("link", { rel: "stylesheet", href: new URL("katex.min.css", KATEX), onload: resolve, onerror: reject }));
  });
  await Promise.all([style, import(new URL("katex.min.js", KATEX))]);
  katex = globalThis.katex;
}

function typeset(code) {
  const tex = code.textContent;
  const display = code.classList.contains("display");
  const html = tex.length <= MAX_CHARACTERS && typesetHtml(tex, display);
  if (!html) return;
  const fragment = DOMPurify.sanitize(html, ALLOWED);
  for (const each of fragment.querySelectorAll("[data-style]")) {
    // The Content-Security-Policy forbids style attributes in HTML, but permits styles that the page's scripts set.
    each.style.cssText = each.dataset.style;
    delete each.dataset.style;
  }
  const attributes = { class: code.className, role: "img", "aria-label": tex, tabindex: display && 0 };
  code.replaceWith(el("span", attributes, fragment));
}

/** KaTeX's HTML with each style in `data-style`; null if it cannot read the formula. */
function typesetHtml(tex, displayMode) {
  try {
    // KaTeX escapes quotes in texts and other attributes as &quot;, so that only style attributes match.
    return katex.renderToString(tex, { ...OPTIONS, displayMode }).replaceAll(' style="', ' data-style="');
  } catch {
    return null;
  }
}
