// Renders a model's Markdown, which is untrusted: nothing in it is executed or fetched. HTML is shown as text, images become
// links, and DOMPurify removes all but the allowed elements and attributes from the output of marked. It also sanitizes the
// HTML of formulas and coloured code.

import { Marked } from "../vendor/marked.esm.js";
import DOMPurify from "../vendor/purify.es.mjs";
import { colorCode } from "./code_colors.js";
import { copyButton } from "./copy.js";
import { el } from "./dom.js";
import { escaped } from "./escaped.js";
import { FORMULAS, typesetFormulas } from "./formulas.js";
import { t } from "./language.js";

const ALLOWED = {
  ALLOWED_TAGS: [
    ...["a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"],
    ...["strong", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ],
  ALLOWED_ATTR: ["align", "class", "href", "start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  // DOMPurify checks all other attributes against ALLOWED_URI_REGEXP.
  ADD_URI_SAFE_ATTR: ["align", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true,
};
const LANGUAGE = /^language-([\w+#.-]{1,40})$/;

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: FORMULAS,
  renderer: {
    html: ({ text, block }) => (block ? `<p>${escaped(text.trim()).replaceAll("\n", "<br>")}</p>\n` : escaped(text)),
    image({ href, text }) {
      return this.parser.renderer.link({ href, tokens: [{ type: "text", raw: text || href, text: text || href }] });
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** A fragment with the elements of a Markdown text. */
export function markdown(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = el("div", { class: "table", role: "group", tabindex: 0, "aria-label": t("message.table") });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const block of fragment.querySelectorAll("pre")) frameCode(block);
  typesetFormulas(fragment);
  return fragment;
}

/** Frame a block of code, with its language and a button that copies it. */
function frameCode(block) {
  const [, name = ""] = LANGUAGE.exec(block.firstElementChild?.className ?? "") ?? [];
  const head = el("div", { class: "code-head" }, el("span", {}, name), copyButton(() => block.textContent));
  const frame = el("div", { class: "code" }, head);
  block.tabIndex = 0;
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", name ? t("message.code_in", { name }) : t("message.code"));
  block.replaceWith(frame);
  frame.append(block);
  if (name) colorCode(block.firstElementChild, name);
}
