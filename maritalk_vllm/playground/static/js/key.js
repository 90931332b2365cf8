// The server's API key, if it wants one: asked for in a dialog, kept until this tab is closed.

import { byId } from "./dom.js";
import { t } from "./language.js";

const NAME = "maritalk.key";

let kept = readKept();
let asking = null;

/** Whether somebody was asked and gave none: then nobody is asked again until they want to be. */
export let declined = false;

/** The headers that a request brings. */
export const keyHeaders = () => (kept ? { Authorization: `Bearer ${kept}` } : {});

/** Whether this server wants a key, and has been given one. */
export const hasKey = () => Boolean(kept);

/** Ask for the key, once for all requests that want it now. True if one was given. */
export function askKey() {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

async function ask() {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-wrong").textContent = kept ? t("key.wrong") : "";
  input.value = "";
  dialog.showModal();
  const given = await new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const done = (value) => {
      form.removeEventListener("submit", submit);
      dialog.removeEventListener("close", close);
      dialog.close();
      resolve(value);
    };
    const submit = (event) => {
      event.preventDefault();
      if (input.value.trim()) done(input.value.trim());
    };
    const close = () => done("");
    byId("key-later").onclick = close;
    form.addEventListener("submit", submit);
    dialog.addEventListener("close", close);
  });
  input.value = "";
  declined = !given;
  if (given) keep(given);
  return Boolean(given);
}

function keep(key) {
  kept = key;
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // Then it lasts as long as the page.
  }
}

function readKept() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}
