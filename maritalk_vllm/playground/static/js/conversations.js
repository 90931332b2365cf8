// The conversations, each in an entry of its own in the browser's local storage.

import { namesWithPrefix, onRemoteChange, read, remove, write } from "./storage.js";

const PREFIX = "conversation.";
const TITLE_LENGTH = 60;

/**
 * A conversation is `{id, title, created, updated, system, draft, messages}`, a message `{role, content}`. An answer may
 * also have `{figures, stopped, error, alternatives, chosen}`. Events: `list` when the list changes, `open` when another
 * conversation becomes the current one, `full` when the local storage is full.
 */
export class Conversations extends EventTarget {
  #all = new Map();
  current;

  constructor() {
    super();
    for (const name of namesWithPrefix(PREFIX)) this.#load(name);
    this.current = this.#all.get(read("current")) ?? this.list[0] ?? newConversation();
    onRemoteChange((name) => this.#reload(name));
  }

  /** The conversations that have messages, the latest first. */
  get list() {
    const nonEmpty = [...this.#all.values()].filter((each) => each.messages.length);
    return nonEmpty.sort((one, other) => other.updated - one.updated);
  }

  /** Conversations whose title or messages contain every word of a text. Case and accents are ignored. */
  find(text) {
    const words = normalized(text).split(/\s+/);
    return this.list.filter(({ title, messages }) => {
      const all = normalized([title, ...messages.map(({ content }) => content)].join("\n"));
      return words.every((word) => all.includes(word));
    });
  }

  /** Open an empty conversation: an existing one, or a new one with the system message of the current one. */
  create() {
    const empty = [...this.#all.values()].find((each) => !each.messages.length);
    this.#show(this.current.messages.length ? (empty ?? newConversation(this.current.system)) : this.current);
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
    if (conversation === this.current) this.#show(this.list[0] ?? newConversation(conversation.system));
    this.dispatchEvent(new Event("list"));
  }

  removeAll() {
    for (const { id } of this.#all.values()) remove(PREFIX + id);
    this.#all.clear();
    this.#show(newConversation());
  }

  /** Store a conversation. `touched`: its messages have changed, which moves it to the top of the list. */
  save(conversation, { touched = false } = {}) {
    const [first] = conversation.messages;
    if (first && !conversation.title) conversation.title = titleOf(first.content);
    if (touched) conversation.updated = Date.now();
    this.#all.set(conversation.id, conversation);
    if (!write(PREFIX + conversation.id, conversation)) this.dispatchEvent(new Event("full"));
    write("current", this.current.id);
    this.dispatchEvent(new Event("list"));
  }

  /** Whether the conversation exists: it may have been deleted while an answer was generated. */
  has(conversation) {
    return this.#all.has(conversation.id);
  }

  #show(conversation) {
    this.current = conversation;
    write("current", conversation.id);
    this.dispatchEvent(new Event("open"));
    this.dispatchEvent(new Event("list"));
  }

  #load(name) {
    const stored = read(name);
    if (!Array.isArray(stored?.messages)) return false;
    this.#all.set(stored.id, stored);
    return true;
  }

  /** Read a conversation that another tab has changed, unless it is the current one here. */
  #reload(name) {
    if (!name.startsWith(PREFIX)) return;
    const id = name.slice(PREFIX.length);
    if (id === this.current.id) return;
    if (!this.#load(name)) this.#all.delete(id);
    this.dispatchEvent(new Event("list"));
  }
}

function newConversation(system = "") {
  const now = Date.now();
  // Not randomUUID: browsers offer it only in secure contexts.
  const id = now.toString(36) + crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
  return { id, title: "", created: now, updated: now, system, draft: "", messages: [] };
}

function titleOf(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1).trimEnd()}…` : line;
}

/** A text in lower case without accents. */
const normalized = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
