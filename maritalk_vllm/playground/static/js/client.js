// Requests to the server that the page came from. Addresses are relative to it, whatever path a proxy gives it.

import { events } from "./events.js";
import { askKey, keyHeaders } from "./key.js";
import { t } from "./language.js";

const ROOT = new URL("../../", import.meta.url);
const UNAUTHORIZED = 401;

/** What went wrong, in a sentence for people: the server's own, where it gave one. `status` 0: it gave no answer. */
export class Failure extends Error {
  constructor(sentence, status = 0) {
    super(sentence);
    this.status = status;
  }
}

/** The answer to a request, whatever its status; only a key that is missing is asked for. Throws Failure. */
export async function ask(path, options = {}) {
  for (;;) {
    const answer = await send(path, options);
    if (answer.status !== UNAUTHORIZED || !(await askKey())) return answer;
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
    throw new Failure(t("error.unreachable"));
  }
}

/** The pieces of an answer as they come, `{text, index}`, and last `{end}` with the whole. Throws Failure. */
export async function* generate(path, body, signal) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, return_usage: true }),
    signal,
  });
  if (!answer.ok) throw new Failure(await sentence(answer), answer.status);
  for await (const { type, data } of readable(answer.body)) {
    if (type === "error") throw new Failure(data.error);
    if (type === "end") {
      yield { end: data };
      return;
    }
    yield { text: data.text, index: data.index ?? 0 };
  }
  throw new Failure(t("error.broken"));
}

async function* readable(body) {
  try {
    yield* events(body);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(t("error.broken"));
  }
}

/** What an answer with an error says. */
export async function sentence(answer) {
  try {
    const { error } = await answer.json();
    return error?.message ?? error ?? t("error.status", { status: answer.status });
  } catch {
    return t("error.status", { status: answer.status });
  }
}
