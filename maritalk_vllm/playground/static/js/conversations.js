// The conversations, kept in this browser: one entry of its storage for each.

import { names, onOtherWindow, read, remove, write } from "./storage.js";

const PREFIX = "conversation.";
const TITLE_LENGTH = 60;

/**
 * A conversation is `{id, title, created, updated, system, draft, messages}`, a message `{role, content}`, and an answer
 * has more: `{figures, stopped, error, alternatives, chosen}`. Events: `list` when something in the list changes,
 * `open` when another one is shown, `full` when the browser keeps no more.
 */
export class Conversations extends EventTarget {
  #all = new Map();
  current;

  constructor() {
    super();
    for (const name of names(PREFIX)) this.#take(name);
    this.current = this.#all.get(read("current")) ?? this.list[0] ?? fresh();
    onOtherWindow((name) => this.#follow(name));
  }

  /** Those that somebody has said something in, the latest first. */
  get list() {
    const begun = [...this.#all.values()].filter((each) => each.messages.length);
    return begun.sort((one, other) => other.updated - one.updated);
  }

  /** Those of the list whose title or messages have each of these words, whatever their case and accents. */
  find(text) {
    const words = plain(text).split(/\s+/);
    return this.list.filter(({ title, messages }) => {
      const all = plain([title, ...messages.map(({ content }) => content)].join("\n"));
      return words.every((word) => all.includes(word));
    });
  }

  /** Begin another, as the last one was set; or go on with one in which nothing was said yet. */
  create() {
    const unsaid = [...this.#all.values()].find((each) => !each.messages.length);
    this.#show(this.current.messages.length ? (unsaid ?? fresh(this.current.system)) : this.current);
  }

  open(id) {
    this.#show(this.#all.get(id) ?? this.current);
  }

  rename(conversation, title) {
    conversation.title = title;
    this.save(conversation);
  }

  remove(conversation) {
    this.#all.delete(conversation.id);
    remove(PREFIX + conversation.id);
    if (conversation === this.current) this.#show(this.list[0] ?? fresh(conversation.system));
    this.dispatchEvent(new Event("list"));
  }

  removeAll() {
    for (const { id } of this.#all.values()) remove(PREFIX + id);
    this.#all.clear();
    this.#show(fresh());
  }

  /** Keep it as it is now. `touched`: something was said in it, so that it is the latest. */
  save(conversation, { touched = false } = {}) {
    const [first] = conversation.messages;
    if (first && !conversation.title) conversation.title = titleOf(first.content);
    if (touched) conversation.updated = Date.now();
    this.#all.set(conversation.id, conversation);
    if (!write(PREFIX + conversation.id, conversation)) this.dispatchEvent(new Event("full"));
    write("current", this.current.id);
    this.dispatchEvent(new Event("list"));
  }

  /** Whether it was not removed meanwhile. */
  has(conversation) {
    return this.#all.has(conversation.id);
  }

  #show(conversation) {
    this.current = conversation;
    write("current", conversation.id);
    this.dispatchEvent(new Event("open"));
    this.dispatchEvent(new Event("list"));
  }

  #take(name) {
    const kept = read(name);
    if (!Array.isArray(kept?.messages)) return false;
    this.#all.set(kept.id, kept);
    return true;
  }

  /** Another window has changed one. What is answered here right now is not taken from under its feet. */
  #follow(name) {
    if (!name.startsWith(PREFIX)) return;
    const id = name.slice(PREFIX.length);
    if (id === this.current.id) return;
    if (!this.#take(name)) this.#all.delete(id);
    this.dispatchEvent(new Event("list"));
  }
}

function fresh(system = "") {
  const now = Date.now();
  // Not randomUUID: browsers have that on HTTPS alone.
  const id = now.toString(36) + crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  return { id, title: "", created: now, updated: now, system, draft: "", messages: [] };
}

function titleOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line;
}

/** A text in small letters without accents. */
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
