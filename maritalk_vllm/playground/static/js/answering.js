// Answers under way: at most one in each conversation.

import { Failure, generate } from "./client.js";
import { figuresOf } from "./figures.js";

const KEEP_SECONDS = 1;

/**
 * Events, each with the `conversation` in its detail: `begin`, `text` when there is more of it, `end`. An answer is
 * `{role: "assistant", content}`; with `alternatives` its content is the one that was `chosen`. Until its end has come it
 * counts as stopped, which is true of it when the page is left.
 */
export class Answering extends EventTarget {
  #conversations;
  #settings;
  #running = new Map();
  #asked = new WeakMap();

  constructor(conversations, settings) {
    super();
    this.#conversations = conversations;
    this.#settings = settings;
    // A page that is left keeps what came.
    addEventListener("pagehide", () => this.#running.forEach((_, conversation) => conversations.save(conversation)));
  }

  isRunning(conversation) {
    return this.#running.has(conversation);
  }

  /** Say something, and answer it. */
  say(conversation, text) {
    conversation.messages.push({ role: "user", content: text });
    return this.answer(conversation);
  }

  /** Answer what was said last. An answer that is there already is forgotten. */
  async answer(conversation) {
    while (conversation.messages.at(-1)?.role === "assistant") conversation.messages.pop();
    const body = { ...this.#settings.body, messages: asked(conversation) };
    const message = { role: "assistant", content: "", alternatives: [""], chosen: 0, stopped: true };
    const abort = new AbortController();
    conversation.messages.push(message);
    this.#running.set(conversation, abort);
    this.#asked.set(message, performance.now());
    try {
      // Asked before it is kept and drawn: the server begins while the page does that.
      const received = this.#receive(body, message, abort.signal, () => this.#progress(conversation, message));
      this.#conversations.save(conversation, { touched: true });
      this.#tell("begin", conversation, message);
      await received;
    } catch (error) {
      if (error.name !== "AbortError") {
        delete message.stopped;
        message.error = error instanceof Failure ? error.message : String(error);
      }
    } finally {
      this.#asked.delete(message);
      if (this.#running.get(conversation) === abort) this.#running.delete(conversation);
      if (this.#conversations.has(conversation)) this.#conversations.save(conversation, { touched: true });
      this.#tell("end", conversation, message);
    }
  }

  /** When an answer that is under way was asked for, by `performance.now()`. */
  askedAt(message) {
    return this.#asked.get(message);
  }

  /** Answer no further. What came stays. */
  stop(conversation) {
    this.#running.get(conversation)?.abort();
  }

  async #receive(body, message, signal, progress) {
    for await (const part of generate("chat/generate", body, signal)) {
      if (part.end) {
        message.alternatives = part.end.outputs ?? [part.end.output];
        message.content = message.alternatives[message.chosen];
        message.figures = await figuresOf(part.end);
        delete message.stopped;
        if (message.alternatives.length === 1) delete message.alternatives;
      } else {
        message.alternatives[part.index] = (message.alternatives[part.index] ?? "") + part.text;
        message.content = message.alternatives[message.chosen];
      }
      progress();
    }
  }

  #kept = 0;

  #progress(conversation, message) {
    this.#tell("text", conversation, message);
    if (performance.now() - this.#kept > 1000 * KEEP_SECONDS && this.#conversations.has(conversation)) {
      this.#kept = performance.now();
      this.#conversations.save(conversation);
    }
  }

  #tell(type, conversation, message) {
    this.dispatchEvent(new CustomEvent(type, { detail: { conversation, message } }));
  }
}

/** What the model is told: an answer of which nothing came was none. */
function asked({ system, messages }) {
  const said = messages.filter(({ role, content }) => role === "user" || content);
  const turns = said.map(({ role, content }) => ({ role, content }));
  return system.trim() ? [{ role: "system", content: system }, ...turns] : turns;
}
