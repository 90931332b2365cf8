// The dialog with example programs that use this server.

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
  #selected = "curl";

  constructor(model, examples) {
    this.#model = model;
    this.#examples = examples;
    byId("open-code").addEventListener("click", () => this.#open());
    byId("code-close").addEventListener("click", () => this.#dialog.close());
    for (const button of byId("code-programs").children) {
      button.addEventListener("click", () => {
        this.#selected = button.value;
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
    for (const button of byId("code-programs").children) {
      button.setAttribute("aria-pressed", String(button.value === this.#selected));
    }
    // The server maps any name of a MariTalk model to the served model.
    const options = { model: this.#model.name ?? "maritalk", question: this.#examples.question, hasKey: hasKey() };
    const program = snippets(options)[this.#selected];
    const code = el("code", {}, program);
    const label = t("message.code_in", { name: this.#selected });
    byId("code-head").replaceChildren(el("span", {}, LANGUAGES[this.#selected]), copyButton(() => program));
    byId("code-text").replaceChildren(code);
    byId("code-text").setAttribute("aria-label", label);
    colorCode(code, LANGUAGES[this.#selected]);
  }
}
