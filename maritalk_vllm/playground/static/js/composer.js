// The input for the next message.

import { byId } from "./dom.js";
import { t } from "./language.js";

export class Composer {
  #conversations;
  #answers;
  #area = byId("message");
  #form = byId("composer");
  #stop = byId("stop");
  #send = byId("send");

  constructor(conversations, answers) {
    this.#conversations = conversations;
    this.#answers = answers;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener("keydown", (event) => {
      // While an input method composes a character, Enter confirms the character.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener("input", () => this.#store());
    this.#stop.addEventListener("click", () => answers.stop(conversations.current));
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], :popover-open")) return;
      answers.stop(conversations.current);
    });
    conversations.addEventListener("open", () => this.#load());
    for (const type of ["start", "end"]) answers.addEventListener(type, () => this.#show());
    this.#load();
  }

  /** Replace the draft, and focus the input. */
  setDraft(text) {
    this.#area.value = text;
    this.#store();
    this.#area.focus();
  }

  #load() {
    this.#area.value = this.#conversations.current.draft;
    this.#show();
  }

  #store() {
    const { current } = this.#conversations;
    current.draft = this.#area.value;
    this.#conversations.save(current);
    this.#show();
  }

  #submit() {
    const { current } = this.#conversations;
    const text = this.#area.value.trim();
    if (!text || this.#answers.isRunning(current)) return;
    this.#area.value = current.draft = "";
    this.#answers.send(current, text);
  }

  #show() {
    const running = this.#answers.isRunning(this.#conversations.current);
    const hadFocus = [this.#send, this.#stop].includes(document.activeElement);
    this.#stop.hidden = !running;
    this.#send.hidden = running;
    this.#send.disabled = !this.#area.value.trim();
    if (hadFocus) (running ? this.#stop : this.#area).focus();
    byId("composer-hint").textContent = t(running ? "composer.running" : "composer.hint");
    // The height follows the text, up to the maximum in composer.css.
    this.#area.style.height = "auto";
    this.#area.style.height = `${this.#area.scrollHeight}px`;
  }

  /** Call after a change of the language. */
  translate() {
    this.#show();
  }
}
