// What the page has to know of the server, and no answer tells.

import { ask } from "./client.js";

let asked = null;

/** `time_unit` is "ms" or "s"; `demo`: what is said of the demo model if that is served, or null. Asked for once, until `forgetFacts`. */
export function facts() {
  asked ??= read();
  return asked;
}

/** Ask again next time: another model may be served once the server was away. */
export function forgetFacts() {
  asked = null;
}

async function read() {
  try {
    return await (await ask("chat/server.json")).json();
  } catch (error) {
    asked = null;
    throw error;
  }
}
