// Polls the server's state and metrics while the page is visible.

import { request } from "./client.js";
import { declined } from "./key.js";
import { figures } from "./metrics.js";

const READY_SECONDS = 2.5;
const LOADING_SECONDS = 1;

/**
 * `phase` is loading, ready, draining, failed, or unreachable if the server does not respond. Events: `phase` when it
 * changes, `update` after each poll.
 */
export class Server extends EventTarget {
  phase = "";
  previousPhase = "";
  wasReady = false;
  step = "";
  seconds = 0;
  progress = null;
  figures = null;
  rate = null;
  #last = null;

  /** Poll until the page is closed. */
  async poll() {
    for (;;) {
      await visible();
      await this.#refresh();
      this.dispatchEvent(new Event("update"));
      await pause(this.phase === "ready" ? READY_SECONDS : LOADING_SECONDS);
    }
  }

  async #refresh() {
    try {
      const state = await (await request("readyz")).json();
      Object.assign(this, { step: state.phase, seconds: state.seconds, progress: state.progress ?? null });
      this.#setPhase(state.status);
      // /metrics requires the key. The page does not ask again for a key that the user declined to enter.
      if (this.phase === "ready" && !declined) await this.#readMetrics();
      else this.#clearMetrics();
    } catch {
      this.#clearMetrics();
      this.#setPhase("unreachable");
    }
  }

  async #readMetrics() {
    const response = await request("metrics");
    if (!response.ok) {
      this.#clearMetrics();
      return;
    }
    const now = { time: performance.now(), ...figures(await response.text()) };
    const elapsed = this.#last && (now.time - this.#last.time) / 1000;
    // After a restart, the engine's counter starts at 0.
    this.rate = elapsed && now.tokens >= this.#last.tokens ? (now.tokens - this.#last.tokens) / elapsed : null;
    this.figures = this.#last = now;
  }

  #clearMetrics() {
    this.figures = this.rate = this.#last = null;
  }

  #setPhase(phase) {
    if (phase === this.phase) return;
    this.previousPhase = this.phase;
    this.wasReady ||= phase === "ready";
    this.phase = phase;
    this.dispatchEvent(new Event("phase"));
  }
}

/** Resolves when the page is visible. */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
