// What the server is at, asked gently: only while somebody looks at the page.

import { ask } from "./client.js";
import { declined } from "./key.js";
import { figures } from "./metrics.js";

const READY_SECONDS = 2.5;
const LOADING_SECONDS = 1;

/**
 * `phase` is loading, ready, draining, failed, or gone where nobody answers. Events: `phase` when that changes, `news`
 * after each look.
 */
export class Server extends EventTarget {
  phase = "";
  before = "";
  wasReady = false;
  step = "";
  seconds = 0;
  progress = null;
  figures = null;
  rate = null;
  #last = null;

  /** Look now, and again and again. */
  async watch() {
    for (;;) {
      await visible();
      await this.#look();
      this.dispatchEvent(new Event("news"));
      await pause(this.phase === "ready" ? READY_SECONDS : LOADING_SECONDS);
    }
  }

  async #look() {
    try {
      const told = await (await ask("readyz")).json();
      Object.assign(this, { step: told.phase, seconds: told.seconds, progress: told.progress ?? null });
      this.#enter(told.status);
      // Asking again and again for what was not given would be a nuisance.
      if (this.phase === "ready" && !declined) await this.#count();
      else this.#forget();
    } catch {
      this.#forget();
      this.#enter("gone");
    }
  }

  async #count() {
    const answer = await ask("metrics");
    if (!answer.ok) {
      this.#forget();
      return;
    }
    const now = { time: performance.now(), ...figures(await answer.text()) };
    const since = this.#last && (now.time - this.#last.time) / 1000;
    // After a restart the engine counts from 0 again.
    this.rate = since && now.tokens >= this.#last.tokens ? (now.tokens - this.#last.tokens) / since : null;
    this.figures = this.#last = now;
  }

  #forget() {
    this.figures = this.rate = this.#last = null;
  }

  #enter(phase) {
    if (phase === this.phase) return;
    this.before = this.phase;
    this.wasReady ||= phase === "ready";
    this.phase = phase;
    this.dispatchEvent(new Event("phase"));
  }
}

/** Until somebody looks at the page. */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
