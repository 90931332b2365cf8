// The server's API key: requested in a dialog, kept in session storage until the tab is closed.

import { byId } from "./dom.js";
import { t } from "./language.js";

const STORAGE_KEY = "maritalk.key";

let apiKey = readStored();
let pending = null;

/** Whether the user closed the dialog without a key. Polling then stops asking until the user sends a request. */
export let declined = false;

/** The headers of a request with the key. */
export const keyHeaders = () => (apiKey ? { Authorization: `Bearer ${apiKey}` } : {});

/** Whether the user entered a key, which the page asks for only if the server requires one. */
export const hasKey = () => Boolean(apiKey);

/** Ask for the key, in one dialog for all pending requests. True if the user entered one. */
export function askKey() {
  pending ??= ask().finally(() => (pending = null));
  return pending;
}

async function ask() {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-error").textContent = apiKey ? t("key.invalid") : "";
  input.value = "";
  dialog.showModal();
  const entered = await new Promise((resolve) => {
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
  declined = !entered;
  if (entered) store(entered);
  return Boolean(entered);
}

function store(key) {
  apiKey = key;
  try {
    sessionStorage.setItem(STORAGE_KEY, key);
  } catch {
    // Without session storage, the key is kept until the page is reloaded.
  }
}

function readStored() {
  try {
    return sessionStorage.getItem(STORAGE_KEY) ?? "";
  } catch {
    return "";
  }
}
