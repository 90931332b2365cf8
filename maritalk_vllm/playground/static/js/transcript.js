// The messages of the current conversation.

import { announce } from "./announce.js";
import { byId } from "./dom.js";
import { onLanguage, t } from "./language.js";
import { MessageView } from "./message.js";
import { translated } from "./server_errors.js";

const END_TOLERANCE_PIXELS = 80;
const RENDER_INTERVAL_SECONDS = 0.05;

export class Transcript {
  #conversations;
  #answers;
  #views = new Map();
  #list = byId("messages");
  #scroller = byId("chat-scroll");
  #scheduled = false;
  #lastRender = 0;
  #measured = new WeakSet();
  #following = true;

  constructor(conversations, answers) {
    this.#conversations = conversations;
    this.#answers = answers;
    conversations.addEventListener("open", () => this.render());
    answers.addEventListener("start", ({ detail }) => this.#isShown(detail) && this.#start());
    answers.addEventListener("text", ({ detail }) => this.#isShown(detail) && this.#scheduleRender(detail.message));
    answers.addEventListener("end", ({ detail }) => this.#end(detail));
    this.#scroller.addEventListener("scroll", () => this.#updateFollowing(), { passive: true });
    byId("to-end").addEventListener("click", () => this.#scrollToEnd());
    onLanguage(() => this.render());
    this.render();
  }

  /** Render the whole conversation. */
  render() {
    const conversation = this.#conversations.current;
    const running = this.#answers.isRunning(conversation);
    this.#views = new Map(conversation.messages.map((message) => [message, this.#createView(conversation, message)]));
    this.#list.replaceChildren(...[...this.#views.values()].map((view) => view.element));
    if (running) this.#views.get(conversation.messages.at(-1)).update({ running });
    byId("empty").hidden = conversation.messages.length > 0;
    this.#scrollToEnd();
  }

  #createView(conversation, message) {
    const { messages } = conversation;
    return new MessageView(message, {
      edit: (text) => {
        this.#answers.stop(conversation);
        messages.splice(messages.indexOf(message));
        this.#answers.send(conversation, text);
      },
      regenerate: () => {
        this.#answers.stop(conversation);
        messages.splice(messages.indexOf(message) + 1);
        this.#answers.generate(conversation);
      },
      choose: (index) => {
        message.chosen = index;
        message.content = message.alternatives[index];
        this.#conversations.save(conversation);
        this.#views.get(message).update({ running: false });
      },
    });
  }

  #isShown({ conversation }) {
    return conversation === this.#conversations.current;
  }

  #start() {
    this.render();
    announce(t("message.writing"));
  }

  /** Render a running answer at most 20 times a second, since each time all of its Markdown is parsed. */
  #scheduleRender(message) {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const wait = this.#lastRender + 1000 * RENDER_INTERVAL_SECONDS - performance.now();
    const render = () => requestAnimationFrame(() => this.#renderAnswer(message));
    if (wait > 0) setTimeout(render, wait);
    else render();
  }

  #renderAnswer(message) {
    this.#scheduled = false;
    this.#lastRender = performance.now();
    const start = this.#answers.startTime(message);
    if (start === undefined) return;
    this.#views.get(message)?.update({ running: true });
    if (message.content && !this.#measured.has(message)) {
      this.#measured.add(message);
      performance.measure("first token", { start, end: performance.now() });
    }
    if (this.#following) this.#scrollToEnd();
  }

  #end({ conversation, message }) {
    announce(message.error ? translated(message.error) : t("message.announcement", { text: message.content }));
    if (conversation !== this.#conversations.current) return;
    this.#views.get(message)?.update({ running: false });
    if (this.#following) this.#scrollToEnd();
  }

  #updateFollowing() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < END_TOLERANCE_PIXELS;
    byId("to-end").hidden = this.#following;
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#updateFollowing();
  }
}
