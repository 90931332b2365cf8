// The conversation that is open, as it is shown.

import { announce } from "./announce.js";
import { byId } from "./dom.js";
import { onLanguage, t } from "./language.js";
import { MessageView } from "./message.js";
import { translated } from "./server_errors.js";

const NEAR_PIXELS = 80;
const DRAWN_SECONDS = 0.05;

export class Transcript {
  #conversations;
  #answering;
  #views = new Map();
  #list = byId("messages");
  #scroller = byId("chat-scroll");
  #due = false;
  #drawn = 0;
  #seen = new WeakSet();
  #follows = true;

  constructor(conversations, answering) {
    this.#conversations = conversations;
    this.#answering = answering;
    conversations.addEventListener("open", () => this.render());
    answering.addEventListener("begin", ({ detail }) => this.#isShown(detail) && this.#begin());
    answering.addEventListener("text", ({ detail }) => this.#isShown(detail) && this.#soon(detail.message));
    answering.addEventListener("end", ({ detail }) => this.#end(detail));
    this.#scroller.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    byId("to-end").addEventListener("click", () => this.#toEnd());
    onLanguage(() => this.render());
    this.render();
  }

  /** Show the whole conversation anew. */
  render() {
    const conversation = this.#conversations.current;
    const running = this.#answering.isRunning(conversation);
    this.#views = new Map(conversation.messages.map((message) => [message, this.#view(conversation, message)]));
    this.#list.replaceChildren(...[...this.#views.values()].map((view) => view.element));
    if (running) this.#views.get(conversation.messages.at(-1)).update({ running });
    byId("empty").hidden = conversation.messages.length > 0;
    this.#toEnd();
  }

  #view(conversation, message) {
    const { messages } = conversation;
    return new MessageView(message, {
      edit: (text) => {
        this.#answering.stop(conversation);
        messages.splice(messages.indexOf(message));
        this.#answering.say(conversation, text);
      },
      again: () => {
        this.#answering.stop(conversation);
        messages.splice(messages.indexOf(message) + 1);
        this.#answering.answer(conversation);
      },
      choose: (number) => {
        message.chosen = number;
        message.content = message.alternatives[number];
        this.#conversations.save(conversation);
        this.#views.get(message).update({ running: false });
      },
    });
  }

  #isShown({ conversation }) {
    return conversation === this.#conversations.current;
  }

  #begin() {
    this.render();
    announce(t("message.writing"));
  }

  /** Draw a running answer at most twenty times a second: each time all of its Markdown is read. */
  #soon(message) {
    if (this.#due) return;
    this.#due = true;
    const wait = this.#drawn + 1000 * DRAWN_SECONDS - performance.now();
    const draw = () => requestAnimationFrame(() => this.#draw(message));
    if (wait > 0) setTimeout(draw, wait);
    else draw();
  }

  #draw(message) {
    this.#due = false;
    this.#drawn = performance.now();
    const asked = this.#answering.askedAt(message);
    if (asked === undefined) return;
    this.#views.get(message)?.update({ running: true });
    if (message.content && !this.#seen.has(message)) {
      this.#seen.add(message);
      performance.measure("first token", { start: asked, end: performance.now() });
    }
    if (this.#follows) this.#toEnd();
  }

  #end({ conversation, message }) {
    announce(message.error ? translated(message.error) : t("message.said", { text: message.content }));
    if (conversation !== this.#conversations.current) return;
    this.#views.get(message)?.update({ running: false });
    if (this.#follows) this.#toEnd();
  }

  #noteScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR_PIXELS;
    byId("to-end").hidden = this.#follows;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#noteScroll();
  }
}
