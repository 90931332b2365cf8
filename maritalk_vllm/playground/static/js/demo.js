// The demo model, named above both views, and the examples that suit the model.

import { byId, el } from "./dom.js";
import { BEGINNINGS, DEMO_BEGINNINGS, DEMO_FILM_REVIEWS, FILM_REVIEWS } from "./examples.js";
import { facts, forgetFacts } from "./facts.js";
import { onLanguage, t } from "./language.js";

/** Offers examples in the model's language; what the demo model answers stands beside its own. */
export class Examples {
  #isDemo = false;
  #composer;
  #settings;

  /** `settings` are those of the conversation. */
  constructor(server, composer, settings) {
    this.#composer = composer;
    this.#settings = settings;
    server.addEventListener("phase", () => server.phase !== "gone" && this.#ask());
    onLanguage(() => this.#show());
    this.#show();
  }

  /** The example of the other view. */
  get filmReviews() {
    return this.#isDemo ? DEMO_FILM_REVIEWS : FILM_REVIEWS;
  }

  /** A question for a program. */
  get question() {
    return this.#isDemo ? DEMO_BEGINNINGS[0].question : t(BEGINNINGS[0]);
  }

  async #ask() {
    forgetFacts();
    try {
      this.#isDemo = Boolean((await facts()).demo);
    } catch {
      return; // asked again in the next phase
    }
    this.#show();
  }

  #show() {
    byId("demo").hidden = !this.#isDemo;
    const shown = this.#isDemo ? DEMO_BEGINNINGS.map((each) => this.#demoButton(each)) : BEGINNINGS.map((key) => this.#button(t(key)));
    byId("beginnings").replaceChildren(...shown);
  }

  #button(text) {
    return el("button", { type: "button", class: "beginning", onclick: () => this.#composer.write(text) }, text);
  }

  #demoButton({ question, answer }) {
    const begin = () => {
      // Otherwise the answer is another one each time.
      this.#settings.set({ do_sample: false });
      this.#composer.write(question);
    };
    const expected = el("span", { class: "expected" }, answer);
    return el("button", { type: "button", class: "beginning", lang: "en", onclick: begin }, question, expected);
  }
}
