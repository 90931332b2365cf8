// The dialog with the settings of the current view.

import { byId, el } from "./dom.js";
import { onLanguage, t } from "./language.js";
import { FIELDS, formatValue, parseValue } from "./settings.js";

export class SettingsPanel {
  #dialog = byId("settings-dialog");
  #settings = null;

  /** Each of the `conversations` has a system message of its own. */
  constructor(conversations) {
    const system = byId("system");
    system.addEventListener("input", () => {
      conversations.current.system = system.value;
      conversations.save(conversations.current);
    });
    byId("settings-reset").addEventListener("click", () => {
      this.#settings.reset();
      this.#fill();
    });
    byId("settings-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    onLanguage(() => this.#settings && this.#fill());
    this.conversations = conversations;
  }

  /** Open the dialog. `withSystem`: it includes the system message of the current conversation. */
  open(settings, { withSystem }) {
    this.#settings = settings;
    byId("system-field").hidden = !withSystem;
    byId("system").value = this.conversations.current.system;
    this.#fill();
    this.#dialog.showModal();
  }

  #fill() {
    byId("settings-fields").replaceChildren(...FIELDS.map((field) => this.#field(field)));
    this.#markUnused();
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
    const input = el("input", { id, type: "checkbox", role: "switch", "aria-describedby": `${id}-hint` });
    input.checked = this.#settings.values[field.name];
    input.addEventListener("change", () => {
      this.#settings.set({ [field.name]: input.checked });
      this.#markUnused();
    });
    return input;
  }

  #input(field, id, hint) {
    const attributes = { id, "aria-describedby": hint.id, autocomplete: "off", spellcheck: "false" };
    const input =
      field.kind === "lines"
        ? el("textarea", { ...attributes, rows: 2 })
        : el("input", {
            ...attributes,
            inputmode: field.kind === "integer" ? "numeric" : "decimal",
            placeholder: field.optional ? t("settings.unset") : null,
          });
    input.value = formatValue(field, this.#settings.values[field.name]);
    input.addEventListener("input", () => {
      const value = parseValue(field, input.value);
      const isInvalid = value === undefined;
      input.setAttribute("aria-invalid", String(isInvalid));
      hint.textContent = t(isInvalid ? "settings.invalid" : `settings.${field.name}.hint`);
      hint.classList.toggle("invalid", isInvalid);
      if (!isInvalid) this.#settings.set({ [field.name]: value });
    });
    return input;
  }

  /** Mark the settings that have no effect without sampling. */
  #markUnused() {
    for (const name of ["temperature", "top_p", "top_k"]) {
      byId(`setting-${name}`).closest(".field").classList.toggle("unused", !this.#settings.values.do_sample);
    }
  }
}
