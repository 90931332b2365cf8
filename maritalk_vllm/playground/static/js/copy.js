// Copies texts to the clipboard.

import { icon, iconButton } from "./dom.js";
import { announce } from "./announce.js";
import { t } from "./language.js";

const CONFIRMATION_SECONDS = 1.5;

/** A button that copies the result of `text()`. */
export function copyButton(text) {
  const button = iconButton("copy", t("copy"), async () => {
    const done = await copy(text());
    announce(t(done ? "copied" : "copy.failed"));
    if (!done) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1000 * CONFIRMATION_SECONDS);
  });
  return button;
}

/** Copy a text to the clipboard; false if the browser does not permit it. */
async function copy(text) {
  try {
    // Available only in secure contexts: HTTPS and localhost.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
