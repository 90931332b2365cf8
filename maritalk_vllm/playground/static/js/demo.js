// The notice of the demo model, and the examples for the served model.

import { byId, el } from "./dom.js";
import { DEMO_FILM_REVIEWS, DEMO_SUGGESTIONS, FILM_REVIEWS, SUGGESTIONS } from "./examples.js";
import { clearServerInfo, serverInfo } from "./server_info.js";
import { onLanguage, t } from "./language.js";

/** Offers examples in a language of the model: for the demo model in English, with its answers. */
export class Examples {
  #isDemo = false;
  #composer;
  #settings;

  /** `settings` are those of the conversation. */
  constructor(server, composer, settings) {
    this.#composer = composer;
    this.#settings = settings;
    server.addEventListener("phase", () => server.phase !== "unreachable" && this.#detectDemo());
    onLanguage(() => this.#show());
    this.#show();
  }

  /** The example of the view of texts. */
  get filmReviews() {
    return this.#isDemo ? DEMO_FILM_REVIEWS : FILM_REVIEWS;
  }

  /** The question of the example programs. */
  get question() {
    return this.#isDemo ? DEMO_SUGGESTIONS[0].question : t(SUGGESTIONS[0]);
  }

  async #detectDemo() {
    clearServerInfo();
    try {
      this.#isDemo = Boolean((await serverInfo()).demo);
    } catch {
      return; // requested again in the next phase
    }
    this.#show();
  }

  #show() {
    byId("demo").hidden = !this.#isDemo;
    const shown = this.#isDemo ? DEMO_SUGGESTIONS.map((each) => this.#demoButton(each)) : SUGGESTIONS.map((key) => this.#button(t(key)));
    byId("suggestions").replaceChildren(...shown);
  }

  #button(text) {
    return el("button", { type: "button", class: "suggestion", onclick: () => this.#composer.setDraft(text) }, text);
  }

  #demoButton({ question, answer }) {
    const use = () => {
      // With sampling, the answer would differ each time.
      this.#settings.set({ do_sample: false });
      this.#composer.setDraft(question);
    };
    const expected = el("span", { class: "expected" }, answer);
    return el("button", { type: "button", class: "suggestion", lang: "en", onclick: use }, question, expected);
  }
}
