// The banner above the conversation: why the server does not answer, and the progress of loading.

import { announce } from "./announce.js";
import { byId } from "./dom.js";
import { labelOf, number, onLanguage, t } from "./language.js";

const STEP_WITH_COUNT = /^(.*?) (\d+\/\d+)$/;

export class Banner {
  #server;

  constructor(server) {
    this.#server = server;
    server.addEventListener("phase", () => {
      this.#announcePhase();
      this.#show();
    });
    server.addEventListener("update", () => this.#show());
    onLanguage(() => this.#show());
  }

  #announcePhase() {
    const { phase, previousPhase } = this.#server;
    if (phase !== "ready") announce(this.#sentence());
    else if (previousPhase) announce(t("banner.ready"));
  }

  /** Loading after the server was ready means that the engine is restarted. */
  #sentence() {
    const { phase, wasReady } = this.#server;
    return t(phase === "loading" && wasReady ? "banner.restarting" : `banner.${phase}`);
  }

  #show() {
    const { phase, progress, seconds } = this.#server;
    byId("banner").hidden = phase === "ready" || phase === "";
    if (byId("banner").hidden) return;
    byId("banner").dataset.phase = phase;
    byId("banner-sentence").textContent = this.#sentence();
    byId("banner-loading").hidden = phase !== "loading";
    byId("banner-step").textContent = this.#step();
    byId("banner-seconds").textContent = t("banner.seconds", { seconds: number(seconds) });
    const bar = byId("banner-bar");
    if (progress === null) bar.removeAttribute("value");
    else bar.value = progress;
  }

  #step() {
    const { step, progress } = this.#server;
    const [, name = step, count = ""] = STEP_WITH_COUNT.exec(step) ?? [];
    const amount = !count && progress !== null ? `${number(100 * progress)}%` : count;
    return `${labelOf("step", name)} ${amount}`.trim();
  }
}
