// The model that is served: its name in the head of the page, and its details in a dialog.

import { ask } from "./client.js";
import { byId, el } from "./dom.js";
import { facts } from "./facts.js";
import { declined, hasKey } from "./key.js";
import { number, onLanguage, t } from "./language.js";

export class Model {
  #all = [];
  #dialog = byId("model-dialog");

  constructor(server) {
    server.addEventListener("news", () => this.#look(server.phase === "ready"));
    onLanguage(() => this.#show());
    byId("model").addEventListener("click", () => this.#open());
    byId("model-close").addEventListener("click", () => this.#dialog.close());
  }

  /** The name of the model; null while it is not known. */
  get name() {
    return this.#all[0]?.id ?? null;
  }

  async #look(isReady) {
    if (!isReady) this.#all = [];
    if (isReady && !this.#all.length && !declined) {
      try {
        const answer = await ask("v1/models");
        if (answer.ok) this.#all = (await answer.json()).data;
      } catch {
        // It is asked for again soon.
      }
    }
    this.#show();
  }

  #show() {
    byId("model").hidden = !this.name;
    byId("model-name").textContent = this.name ?? "";
  }

  async #open() {
    const shown = (await this.#details()).map(([key, value]) => el("div", {}, el("dt", {}, t(key)), el("dd", {}, value)));
    byId("model-facts").replaceChildren(...shown);
    // A browser sends no key with a link.
    byId("model-docs").hidden = hasKey();
    this.#dialog.showModal();
  }

  /** Names of sentences, each with what is shown beside it. What the server does not say is left out. */
  async #details() {
    const [{ id, max_model_len: count }, ...others] = this.#all;
    const { demo } = await facts();
    const engine = await ask("version").then((answer) => (answer.ok ? answer.json() : {}));
    return [
      ["model.name", id],
      ["model.about", demo && t("demo.notice")],
      ["model.others", others.map((each) => each.id).join(", ")],
      ["model.context", count && t("model.tokens", { count, number: number(count) })],
      ["model.engine", engine.version && `vLLM ${engine.version}`],
    ].filter(([, value]) => value);
  }
}
