// The dialog that shows programs which use this server.

import { colorCode } from "./code_colors.js";
import { copyButton } from "./copy.js";
import { byId, el } from "./dom.js";
import { hasKey } from "./key.js";
import { t } from "./language.js";
import { snippets } from "./snippets.js";

const LANGUAGES = { curl: "bash", openai: "python", maritalk: "python" };

export class CodeDialog {
  #dialog = byId("code-dialog");
  #model;
  #examples;
  #shown = "curl";

  constructor(model, examples) {
    this.#model = model;
    this.#examples = examples;
    byId("open-code").addEventListener("click", () => this.#open());
    byId("code-close").addEventListener("click", () => this.#dialog.close());
    for (const button of byId("code-kinds").children) {
      button.addEventListener("click", () => {
        this.#shown = button.value;
        this.#show();
      });
    }
  }

  #open() {
    this.#show();
    byId("code-docs").hidden = hasKey();
    byId("code-key").hidden = !hasKey();
    this.#dialog.showModal();
  }

  #show() {
    for (const button of byId("code-kinds").children) {
      button.setAttribute("aria-pressed", String(button.value === this.#shown));
    }
    // Any name of a MariTalk model means the served one.
    const asked = { model: this.#model.name ?? "maritalk", question: this.#examples.question, hasKey: hasKey() };
    const program = snippets(asked)[this.#shown];
    const code = el("code", {}, program);
    const label = t("message.code_in", { name: this.#shown });
    byId("code-head").replaceChildren(el("span", {}, LANGUAGES[this.#shown]), copyButton(() => program));
    byId("code-text").replaceChildren(code);
    byId("code-text").setAttribute("aria-label", label);
    colorCode(code, LANGUAGES[this.#shown]);
  }
}
