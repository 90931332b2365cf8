// The other view: a text that the model goes on with, as it is.

import { announce } from "./announce.js";
import { Failure, generate } from "./client.js";
import { copyButton } from "./copy.js";
import { byId, el, icon } from "./dom.js";
import { figuresOf, line } from "./figures.js";
import { t } from "./language.js";
import { translated } from "./server_errors.js";
import { read, write } from "./storage.js";

export class Completion {
  #settings;
  #area = byId("prompt");
  #abort = null;
  #outputs = [];
  #figures = null;
  #error = "";
  #expected = "";

  constructor(settings, examples) {
    this.#settings = settings;
    this.#area.value = read("prompt", "");
    this.#area.addEventListener("input", () => {
      this.#expected = "";
      this.#keep();
    });
    this.#area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#go();
    });
    byId("completion").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go();
    });
    byId("completion").addEventListener("keydown", (event) => event.key === "Escape" && this.#abort?.abort());
    byId("prompt-stop").addEventListener("click", () => this.#abort?.abort());
    byId("prompt-example").addEventListener("click", () => this.#load(examples.filmReviews));
    this.show();
  }

  #keep() {
    write("prompt", this.#area.value);
    this.show();
  }

  #load({ prompt, settings, answer = "" }) {
    this.#expected = answer;
    this.#area.value = prompt;
    this.#settings.reset();
    this.#settings.set(settings);
    this.#outputs = [];
    this.#figures = null;
    this.#error = "";
    this.#keep();
    this.#area.focus();
  }

  async #go() {
    if (this.#abort || !this.#area.value) return;
    const abort = (this.#abort = new AbortController());
    this.#clear();
    try {
      const body = { ...this.#settings.body, prompt: this.#area.value };
      for await (const part of generate("generate", body, abort.signal)) await this.#take(part);
    } catch (error) {
      if (error.name !== "AbortError") this.#error = error instanceof Failure ? error.message : String(error);
    } finally {
      this.#abort = null;
      this.show();
      announce(translated(this.#error) || t("message.said", { text: this.#outputs.join("\n") }));
    }
  }

  #clear() {
    this.#outputs = [""];
    this.#figures = null;
    this.#error = "";
    this.show();
  }

  async #take(part) {
    if (part.end) {
      this.#outputs = part.end.outputs ?? [part.end.output];
      this.#figures = await figuresOf(part.end);
    } else {
      this.#outputs[part.index] = (this.#outputs[part.index] ?? "") + part.text;
    }
    this.show();
  }

  /** All of it, as it is now. */
  show() {
    const running = this.#abort !== null;
    byId("prompt-go").hidden = running;
    byId("prompt-go").disabled = !this.#area.value;
    byId("prompt-stop").hidden = !running;
    const shown = this.#outputs.filter((text) => text !== undefined).map((text) => this.#output(text, running));
    if (this.#error) shown.push(el("p", { class: "error" }, icon("alert"), el("span", {}, translated(this.#error))));
    if (this.#figures) {
      shown.push(el("p", { class: "figures" }, ...line(this.#figures).map((part) => el("span", {}, part))));
    }
    if (!shown.length) shown.push(el("p", { class: "note" }, this.#hint()));
    byId("outputs").replaceChildren(...shown);
  }

  #hint() {
    return this.#expected ? t("completion.expected", { answer: this.#expected }) : t("completion.nothing");
  }

  #output(text, running) {
    const append = () => {
      this.#area.value += text;
      this.#keep();
      this.#area.focus();
    };
    const actions = el(
      "div",
      { class: "actions" },
      copyButton(() => text),
      el("button", { type: "button", class: "plain", onclick: append }, t("completion.append")),
    );
    return el("div", { class: "output" }, el("pre", { tabindex: 0 }, text || " "), !running && text && actions);
  }
}
