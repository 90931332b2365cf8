// Where one writes.

import { byId } from "./dom.js";
import { t } from "./language.js";

export class Composer {
  #conversations;
  #answering;
  #area = byId("message");
  #form = byId("composer");
  #stop = byId("stop");
  #send = byId("send");

  constructor(conversations, answering) {
    this.#conversations = conversations;
    this.#answering = answering;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#say();
    });
    this.#area.addEventListener("keydown", (event) => {
      // While a character is composed, as accents may be, Enter belongs to that.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#say();
    });
    this.#area.addEventListener("input", () => this.#keep());
    this.#stop.addEventListener("click", () => answering.stop(conversations.current));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], :popover-open")) return;
      answering.stop(conversations.current);
    });
    conversations.addEventListener("open", () => this.#load());
    for (const type of ["begin", "end"]) answering.addEventListener(type, () => this.#show());
    this.#load();
  }

  /** Begin with this text. */
  write(text) {
    this.#area.value = text;
    this.#keep();
    this.#area.focus();
  }

  #load() {
    this.#area.value = this.#conversations.current.draft;
    this.#show();
  }

  #keep() {
    const { current } = this.#conversations;
    current.draft = this.#area.value;
    this.#conversations.save(current);
    this.#show();
  }

  #say() {
    const { current } = this.#conversations;
    const text = this.#area.value.trim();
    if (!text || this.#answering.isRunning(current)) return;
    this.#area.value = current.draft = "";
    this.#answering.say(current, text);
  }

  #show() {
    const running = this.#answering.isRunning(this.#conversations.current);
    const hadFocus = [this.#send, this.#stop].includes(document.activeElement);
    this.#stop.hidden = !running;
    this.#send.hidden = running;
    this.#send.disabled = !this.#area.value.trim();
    if (hadFocus) (running ? this.#stop : this.#area).focus();
    byId("composer-hint").textContent = t(running ? "composer.running" : "composer.hint");
    // As high as the text, up to what the style allows.
    this.#area.style.height = "auto";
    this.#area.style.height = `${this.#area.scrollHeight}px`;
  }

  /** After the language has changed. */
  translate() {
    this.#show();
  }
}
