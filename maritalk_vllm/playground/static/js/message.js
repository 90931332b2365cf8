// The view of one message.

import { copyButton } from "./copy.js";
import { el, icon, iconButton, replaceChanged } from "./dom.js";
import { figureTexts } from "./figures.js";
import { number, t } from "./language.js";
import { markdown } from "./markdown.js";
import { translated } from "./server_errors.js";

/** `actions` are `{edit(text), regenerate(), choose(index)}`. */
export class MessageView {
  #message;
  #actions;
  #running = false;
  #body = el("div", { class: "body" });
  #footerElement = el("div", { class: "foot" });

  constructor(message, actions) {
    this.#message = message;
    this.#actions = actions;
    const isAnswer = message.role === "assistant";
    const name = el("h2", { class: "visually-hidden" }, t(isAnswer ? "message.answer" : "message.yours"));
    this.element = el("article", { class: `message ${message.role}` }, name, this.#body, this.#footerElement);
    this.update({ running: false });
  }

  /** Render the message. `running`: its answer is not complete yet. */
  update({ running }) {
    this.#running = running;
    this.element.classList.toggle("running", running);
    if (this.#message.role === "user") this.#body.textContent = this.#message.content;
    else replaceChanged(this.#body, this.#answer());
    this.#footerElement.replaceChildren(...this.#footer());
  }

  #answer() {
    const { content, error, stopped } = this.#message;
    const shown = [];
    if (content) shown.push(...markdown(content).childNodes);
    else if (this.#running) shown.push(el("p", { class: "waiting" }, el("i"), el("i"), el("i")));
    if (error) shown.push(el("p", { class: "error" }, icon("alert"), el("span", {}, translated(error))));
    if (stopped && !this.#running) shown.push(el("p", { class: "note" }, t("message.stopped")));
    if (!content && !error && !stopped && !this.#running) shown.push(el("p", { class: "note" }, t("message.empty")));
    return shown;
  }

  #footer() {
    if (this.#running) return [];
    const { role, content, figures } = this.#message;
    const actions = el("div", { class: "actions" });
    if (content) actions.append(copyButton(() => this.#message.content));
    if (role === "user") actions.append(iconButton("edit", t("message.edit"), () => this.#edit()));
    else actions.append(iconButton("regenerate", t("message.regenerate"), () => this.#actions.regenerate()), ...this.#pager());
    const shown = figures ? [el("p", { class: "figures" }, ...figureTexts(figures).map((part) => el("span", {}, part)))] : [];
    return [actions, ...shown];
  }

  /** The buttons that select one of several answers. The conversation continues with the selected one. */
  #pager() {
    const { alternatives, chosen } = this.#message;
    if ((alternatives?.length ?? 1) < 2) return [];
    const go = (step) => this.#actions.choose(chosen + step);
    const position = t("message.of", { number: number(chosen + 1), all: number(alternatives.length) });
    return [
      iconButton("left", t("message.previous"), () => go(-1), { disabled: chosen === 0 }),
      el("span", { class: "position" }, position),
      iconButton("right", t("message.next"), () => go(1), { disabled: chosen === alternatives.length - 1 }),
    ];
  }

  #edit() {
    const area = el("textarea", { "aria-label": t("message.edit"), rows: 3 });
    const cancel = () => {
      this.element.classList.remove("editing");
      this.update({ running: false });
      this.element.querySelector(".actions button:last-child").focus();
    };
    const form = el(
      "form",
      {
        class: "edit",
        onsubmit: (event) => {
          event.preventDefault();
          if (area.value.trim()) this.#actions.edit(area.value);
        },
        onkeydown: (event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            cancel();
          } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            form.requestSubmit();
          }
        },
      },
      area,
      el(
        "div",
        { class: "buttons" },
        el("button", { type: "button", class: "plain", onclick: cancel }, t("cancel")),
        el("button", { type: "submit", class: "strong" }, t("message.resend")),
      ),
    );
    area.value = this.#message.content;
    this.element.classList.add("editing");
    this.#body.replaceChildren(form);
    this.#footerElement.replaceChildren();
    area.focus();
  }
}
