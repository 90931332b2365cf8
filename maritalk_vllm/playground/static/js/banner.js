// Above the conversation: what stands in the way of an answer, and for how long yet.

import { announce } from "./announce.js";
import { byId } from "./dom.js";
import { number, onLanguage, t, told } from "./language.js";

const COUNTED = /^(.*?) (\d+\/\d+)$/;

export class Banner {
  #server;

  constructor(server) {
    this.#server = server;
    server.addEventListener("phase", () => {
      this.#tell();
      this.#show();
    });
    server.addEventListener("news", () => this.#show());
    onLanguage(() => this.#show());
  }

  #tell() {
    const { phase, before } = this.#server;
    if (phase !== "ready") announce(this.#sentence());
    else if (before) announce(t("banner.ready"));
  }

  /** Once it was ready, loading means that the engine has died. */
  #sentence() {
    const { phase, wasReady } = this.#server;
    return t(phase === "loading" && wasReady ? "banner.again" : `banner.${phase}`);
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
    const [, name = step, count = ""] = COUNTED.exec(step) ?? [];
    const done = !count && progress !== null ? `${number(100 * progress)}%` : count;
    return `${told("step", name)} ${done}`.trim();
  }
}
