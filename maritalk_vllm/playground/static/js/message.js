// One message, as it is shown.

import { copyButton } from "./copy.js";
import { el, icon, iconButton, replaceChanged } from "./dom.js";
import { line } from "./figures.js";
import { number, t } from "./language.js";
import { markdown } from "./markdown.js";
import { translated } from "./server_errors.js";

/** `actions` are `{edit(text), again(), choose(number)}`. */
export class MessageView {
  #message;
  #actions;
  #running = false;
  #body = el("div", { class: "body" });
  #foot = el("div", { class: "foot" });

  constructor(message, actions) {
    this.#message = message;
    this.#actions = actions;
    const isAnswer = message.role === "assistant";
    const name = el("h2", { class: "unseen" }, t(isAnswer ? "message.answer" : "message.yours"));
    this.element = el("article", { class: `message ${message.role}` }, name, this.#body, this.#foot);
    this.update({ running: false });
  }

  /** Show what it says now. */
  update({ running }) {
    this.#running = running;
    this.element.classList.toggle("running", running);
    if (this.#message.role === "user") this.#body.textContent = this.#message.content;
    else replaceChanged(this.#body, this.#answer());
    this.#foot.replaceChildren(...this.#feet());
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

  #feet() {
    if (this.#running) return [];
    const { role, content, figures } = this.#message;
    const actions = el("div", { class: "actions" });
    if (content) actions.append(copyButton(() => this.#message.content));
    if (role === "user") actions.append(iconButton("edit", t("message.edit"), () => this.#edit()));
    else actions.append(iconButton("again", t("message.again"), () => this.#actions.again()), ...this.#pager());
    const shown = figures ? [el("p", { class: "figures" }, ...line(figures).map((part) => el("span", {}, part)))] : [];
    return [actions, ...shown];
  }

  /** Where several answers were asked for, one is shown, and goes on in the conversation. */
  #pager() {
    const { alternatives, chosen } = this.#message;
    if ((alternatives?.length ?? 1) < 2) return [];
    const go = (step) => this.#actions.choose(chosen + step);
    const place = t("message.of", { number: number(chosen + 1), all: number(alternatives.length) });
    return [
      iconButton("left", t("message.previous"), () => go(-1), { disabled: chosen === 0 }),
      el("span", { class: "place" }, place),
      iconButton("right", t("message.next"), () => go(1), { disabled: chosen === alternatives.length - 1 }),
    ];
  }

  #edit() {
    const area = el("textarea", { "aria-label": t("message.edit"), rows: 3 });
    const leave = () => {
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
            leave();
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
        el("button", { type: "button", class: "plain", onclick: leave }, t("cancel")),
        el("button", { type: "submit", class: "strong" }, t("message.resend")),
      ),
    );
    area.value = this.#message.content;
    this.element.classList.add("editing");
    this.#body.replaceChildren(form);
    this.#foot.replaceChildren();
    area.focus();
  }
}
