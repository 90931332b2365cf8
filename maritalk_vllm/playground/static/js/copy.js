// Copying texts.

import { icon, iconButton } from "./dom.js";
import { announce } from "./announce.js";
import { t } from "./language.js";

const SHOWN_SECONDS = 1.5;

/** A button that copies what `text` gives. */
export function copyButton(text) {
  const button = iconButton("copy", t("copy"), async () => {
    const done = await copy(text());
    announce(t(done ? "copied" : "copy.failed"));
    if (!done) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1000 * SHOWN_SECONDS);
  });
  return button;
}

/** Put a text where others are pasted from; false if the browser does not let us. */
async function copy(text) {
  try {
    // Only there on HTTPS and on this machine itself.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

function copyTheOldWay(text) {
  const before = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
