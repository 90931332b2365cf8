// The status bar at the bottom: the server's state and metrics.

import { byId } from "./dom.js";
import { askKey, declined } from "./key.js";
import { number, onLanguage, t } from "./language.js";

const UNKNOWN = "–";

export class StatusBar {
  #server;

  constructor(server) {
    this.#server = server;
    // The metrics may require a key; the state does not.
    for (const type of ["phase", "update"]) server.addEventListener(type, () => this.#show());
    byId("enter-key").addEventListener("click", () => askKey());
    onLanguage(() => this.#show());
    this.#show();
  }

  #show() {
    const { figures, rate } = this.#server;
    const state = this.#state();
    byId("state").dataset.state = state;
    byId("state-name").textContent = t(`state.${state}`);
    byId("running").textContent = formatted(figures?.running);
    byId("waiting").textContent = formatted(figures?.waiting);
    byId("rate").textContent = formatted(rate, rate !== null && rate < 10 ? 1 : 0);
    const cache = figures?.cache ?? null;
    byId("cache").textContent = cache === null ? UNKNOWN : `${number(100 * cache, cache < 0.1 ? 1 : 0)}%`;
    byId("cache-bar").style.inlineSize = `${100 * (cache ?? 0)}%`;
    byId("enter-key").hidden = !declined;
  }

  #state() {
    const { phase, figures } = this.#server;
    if (phase !== "ready") return phase || "connecting";
    if ((figures?.running ?? null) === null) return "ready";
    return figures.running || figures.waiting ? "busy" : "idle";
  }
}

const formatted = (value, digits = 0) => (value === null || value === undefined ? UNKNOWN : number(value, digits));
