// The panel with the settings of the view that is shown.

import { byId, el } from "./dom.js";
import { onLanguage, t } from "./language.js";
import { FIELDS, parsed, written } from "./settings.js";

export class SettingsPanel {
  #dialog = byId("settings-dialog");
  #shown = null;

  /** `conversations` have a system prompt each. */
  constructor(conversations) {
    const system = byId("system");
    system.addEventListener("input", () => {
      conversations.current.system = system.value;
      conversations.save(conversations.current);
    });
    byId("settings-reset").addEventListener("click", () => {
      this.#shown.reset();
      this.#fill();
    });
    byId("settings-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    onLanguage(() => this.#shown && this.#fill());
    this.conversations = conversations;
  }

  /** Show the settings; those of the conversation with its system prompt. */
  open(settings, { withSystem }) {
    this.#shown = settings;
    byId("system-field").hidden = !withSystem;
    byId("system").value = this.conversations.current.system;
    this.#fill();
    this.#dialog.showModal();
  }

  #fill() {
    byId("settings-fields").replaceChildren(...FIELDS.map((field) => this.#field(field)));
    this.#dim();
  }

  #field(field) {
    const id = `setting-${field.name}`;
    const name = el("span", { class: "field-name" }, t(`settings.${field.name}`));
    const code = el("code", {}, field.name);
    const hint = el("p", { class: "hint", id: `${id}-hint` }, t(`settings.${field.name}.hint`));
    const label = el("label", { for: id }, name, code);
    if (field.kind === "switch") return el("div", { class: "field switch-field" }, label, this.#switch(field, id), hint);
    return el("div", { class: "field" }, label, this.#input(field, id, hint), hint);
  }

  #switch(field, id) {
    const made = el("input", { id, type: "checkbox", role: "switch", "aria-describedby": `${id}-hint` });
    made.checked = this.#shown.values[field.name];
    made.addEventListener("change", () => {
      this.#shown.set({ [field.name]: made.checked });
      this.#dim();
    });
    return made;
  }

  #input(field, id, hint) {
    const describe = { id, "aria-describedby": hint.id, autocomplete: "off", spellcheck: "false" };
    const made =
      field.kind === "lines"
        ? el("textarea", { ...describe, rows: 2 })
        : el("input", {
            ...describe,
            inputmode: field.kind === "integer" ? "numeric" : "decimal",
            placeholder: field.optional ? t("settings.open") : null,
          });
    made.value = written(field, this.#shown.values[field.name]);
    made.addEventListener("input", () => {
      const value = parsed(field, made.value);
      const wrong = value === undefined;
      made.setAttribute("aria-invalid", String(wrong));
      hint.textContent = t(wrong ? "settings.wrong" : `settings.${field.name}.hint`);
      hint.classList.toggle("wrong", wrong);
      if (!wrong) this.#shown.set({ [field.name]: value });
    });
    return made;
  }

  /** What has no effect while the likeliest token is taken each time. */
  #dim() {
    for (const name of ["temperature", "top_p", "top_k"]) {
      byId(`setting-${name}`).closest(".field").classList.toggle("idle", !this.#shown.values.do_sample);
    }
  }
}
