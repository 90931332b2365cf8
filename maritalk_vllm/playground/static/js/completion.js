// The view of texts: the model continues a text without a chat template.

import { announce } from "./announce.js";
import { RequestError, streamGeneration } from "./client.js";
import { copyButton } from "./copy.js";
import { byId, el, icon } from "./dom.js";
import { figuresOf, figureTexts } from "./figures.js";
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
      this.#store();
    });
    this.#area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#generate();
    });
    byId("completion").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#generate();
    });
    byId("completion").addEventListener("keydown", (event) => event.key === "Escape" && this.#abort?.abort());
    byId("prompt-stop").addEventListener("click", () => this.#abort?.abort());
    byId("prompt-example").addEventListener("click", () => this.#load(examples.filmReviews));
    this.show();
  }

  #store() {
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
    this.#store();
    this.#area.focus();
  }

  async #generate() {
    if (this.#abort || !this.#area.value) return;
    const abort = (this.#abort = new AbortController());
    this.#clear();
    try {
      const body = { ...this.#settings.body, prompt: this.#area.value };
      for await (const part of streamGeneration("generate", body, abort.signal)) await this.#receive(part);
    } catch (error) {
      if (error.name !== "AbortError") this.#error = error instanceof RequestError ? error.message : String(error);
    } finally {
      this.#abort = null;
      this.show();
      announce(translated(this.#error) || t("message.announcement", { text: this.#outputs.join("\n") }));
    }
  }

  #clear() {
    this.#outputs = [""];
    this.#figures = null;
    this.#error = "";
    this.show();
  }

  async #receive(part) {
    if (part.end) {
      this.#outputs = part.end.outputs ?? [part.end.output];
      this.#figures = await figuresOf(part.end);
    } else {
      this.#outputs[part.index] = (this.#outputs[part.index] ?? "") + part.text;
    }
    this.show();
  }

  /** Render the current state. */
  show() {
    const running = this.#abort !== null;
    byId("prompt-continue").hidden = running;
    byId("prompt-continue").disabled = !this.#area.value;
    byId("prompt-stop").hidden = !running;
    const shown = this.#outputs.filter((text) => text !== undefined).map((text) => this.#output(text, running));
    if (this.#error) shown.push(el("p", { class: "error" }, icon("alert"), el("span", {}, translated(this.#error))));
    if (this.#figures) {
      shown.push(el("p", { class: "figures" }, ...figureTexts(this.#figures).map((part) => el("span", {}, part))));
    }
    if (!shown.length) shown.push(el("p", { class: "note" }, this.#hint()));
    byId("outputs").replaceChildren(...shown);
  }

  #hint() {
    return this.#expected ? t("completion.expected", { answer: this.#expected }) : t("completion.empty");
  }

  #output(text, running) {
    const append = () => {
      this.#area.value += text;
      this.#store();
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
