// The server's `/chat/server.json`: what the page needs to know and no response of the API contains.

import { request } from "./client.js";

let pending = null;

/**
 * `time_unit` is "ms" or "s"; `demo` is the notice of the demo model, null if another model is served. Cached until
 * `clearServerInfo`.
 */
export function serverInfo() {
  pending ??= read();
  return pending;
}

/** Clear the cache: after a restart, the server may serve another model. */
export function clearServerInfo() {
  pending = null;
}

async function read() {
  try {
    return await (await request("chat/server.json")).json();
  } catch (error) {
    pending = null;
    throw error;
  }
}
