// The served model: its name in the page's header, and its details in a dialog.

import { request } from "./client.js";
import { byId, el } from "./dom.js";
import { declined, hasKey } from "./key.js";
import { number, onLanguage, t } from "./language.js";
import { serverInfo } from "./server_info.js";

export class Model {
  #all = [];
  #dialog = byId("model-dialog");

  constructor(server) {
    server.addEventListener("update", () => this.#load(server.phase === "ready"));
    onLanguage(() => this.#show());
    byId("model").addEventListener("click", () => this.#open());
    byId("model-close").addEventListener("click", () => this.#dialog.close());
  }

  /** The name of the model; null until it is loaded. */
  get name() {
    return this.#all[0]?.id ?? null;
  }

  async #load(isReady) {
    if (!isReady) this.#all = [];
    if (isReady && !this.#all.length && !declined) {
      try {
        const response = await request("v1/models");
        if (response.ok) this.#all = (await response.json()).data;
      } catch {
        // The next update repeats the request.
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
    // A browser does not send the key when it follows a link.
    byId("model-docs").hidden = hasKey();
    this.#dialog.showModal();
  }

  /** Pairs of a text's key and its value. Values that the server does not report are left out. */
  async #details() {
    const [{ id, max_model_len: count }, ...others] = this.#all;
    const { demo } = await serverInfo();
    const engine = await request("version").then((response) => (response.ok ? response.json() : {}));
    return [
      ["model.name", id],
      ["model.about", demo && t("demo.notice")],
      ["model.others", others.map((each) => each.id).join(", ")],
      ["model.context", count && t("model.tokens", { count, number: number(count) })],
      ["model.engine", engine.version && `vLLM ${engine.version}`],
    ].filter(([, value]) => value);
  }
}
