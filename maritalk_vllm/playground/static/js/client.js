// Requests to the server of this page. URLs are relative to the page, since a proxy may add a path prefix.

import { events } from "./events.js";
import { askKey, keyHeaders } from "./key.js";
import { t } from "./language.js";

const ROOT = new URL("../../", import.meta.url);
const UNAUTHORIZED = 401;

/** A failed request, with a message for the user: the server's, if it sent one. `status` is 0 without a response. */
export class RequestError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The response to a request, also with an error status; after a 401, the user is asked for the key. Throws RequestError. */
export async function request(path, options = {}) {
  for (;;) {
    const response = await send(path, options);
    if (response.status !== UNAUTHORIZED || !(await askKey())) return response;
  }
}

async function send(path, options) {
  try {
    return await fetch(new URL(path, ROOT), {
      ...options,
      headers: { ...keyHeaders(), ...options.headers },
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(t("error.unreachable"));
  }
}

/** The parts of a streamed answer: `{text, index}` for each piece, then `{end}` with the final event. Throws RequestError. */
export async function* streamGeneration(path, body, signal) {
  const response = await request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, return_usage: true }),
    signal,
  });
  if (!response.ok) throw new RequestError(await errorMessage(response), response.status);
  for await (const { type, data } of receivedEvents(response.body)) {
    if (type === "error") throw new RequestError(data.error);
    if (type === "end") {
      yield { end: data };
      return;
    }
    yield { text: data.text, index: data.index ?? 0 };
  }
  throw new RequestError(t("error.broken"));
}

async function* receivedEvents(body) {
  try {
    yield* events(body);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(t("error.broken"));
  }
}

/** The message of an error response. */
export async function errorMessage(response) {
  try {
    const { error } = await response.json();
    return error?.message ?? error ?? t("error.status", { status: response.status });
  } catch {
    return t("error.status", { status: response.status });
  }
}
