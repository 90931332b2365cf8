// Generates answers: at most one at a time in each conversation.

import { RequestError, streamGeneration } from "./client.js";
import { figuresOf } from "./figures.js";

const SAVE_INTERVAL_SECONDS = 1;

/**
 * Events, with `{conversation, message}` as detail: `start`, `text` when text was received, `end`. An answer is
 * `{role: "assistant", content}`; with `alternatives`, its content is the alternative with the index `chosen`. `stopped` is
 * true until the answer is complete, so that an answer is stored as stopped if the user leaves the page.
 */
export class Answers extends EventTarget {
  #conversations;
  #settings;
  #running = new Map();
  #startTimes = new WeakMap();
  #lastSave = 0;

  constructor(conversations, settings) {
    super();
    this.#conversations = conversations;
    this.#settings = settings;
    // If the user leaves the page, the text received so far is saved.
    addEventListener("pagehide", () => this.#running.forEach((_, conversation) => conversations.save(conversation)));
  }

  isRunning(conversation) {
    return this.#running.has(conversation);
  }

  /** Add a message of the user, and generate its answer. */
  send(conversation, text) {
    conversation.messages.push({ role: "user", content: text });
    return this.generate(conversation);
  }

  /** Generate an answer to the last message of the user. It replaces an existing answer. */
  async generate(conversation) {
    while (conversation.messages.at(-1)?.role === "assistant") conversation.messages.pop();
    const body = { ...this.#settings.body, messages: requestMessages(conversation) };
    const message = { role: "assistant", content: "", alternatives: [""], chosen: 0, stopped: true };
    const abort = new AbortController();
    conversation.messages.push(message);
    this.#running.set(conversation, abort);
    this.#startTimes.set(message, performance.now());
    try {
      // The request is sent first, so that the server works on it while the page saves and renders the message.
      const completed = this.#receive(body, message, abort.signal, () => this.#progress(conversation, message));
      this.#conversations.save(conversation, { touched: true });
      this.#dispatch("start", conversation, message);
      await completed;
    } catch (error) {
      if (error.name !== "AbortError") {
        delete message.stopped;
        message.error = error instanceof RequestError ? error.message : String(error);
      }
    } finally {
      this.#startTimes.delete(message);
      if (this.#running.get(conversation) === abort) this.#running.delete(conversation);
      if (this.#conversations.has(conversation)) this.#conversations.save(conversation, { touched: true });
      this.#dispatch("end", conversation, message);
    }
  }

  /** When the request for a running answer was sent, by `performance.now()`; undefined if the answer is not running. */
  startTime(message) {
    return this.#startTimes.get(message);
  }

  /** Abort the running answer, if there is one. The text received so far stays. */
  stop(conversation) {
    this.#running.get(conversation)?.abort();
  }

  async #receive(body, message, signal, progress) {
    for await (const part of streamGeneration("chat/generate", body, signal)) {
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

  #progress(conversation, message) {
    this.#dispatch("text", conversation, message);
    if (performance.now() - this.#lastSave > 1000 * SAVE_INTERVAL_SECONDS && this.#conversations.has(conversation)) {
      this.#lastSave = performance.now();
      this.#conversations.save(conversation);
    }
  }

  #dispatch(type, conversation, message) {
    this.dispatchEvent(new CustomEvent(type, { detail: { conversation, message } }));
  }
}

/** The messages of a request: the system message, if there is one, and the conversation without empty answers. */
function requestMessages({ system, messages }) {
  const nonEmpty = messages.filter(({ role, content }) => role === "user" || content);
  const turns = nonEmpty.map(({ role, content }) => ({ role, content }));
  return system.trim() ? [{ role: "system", content: system }, ...turns] : turns;
}
