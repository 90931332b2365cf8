// The language of the page, and its texts from strings.json.

import { read, write } from "./storage.js";

const tables = await (await fetch(new URL("../strings.json", import.meta.url))).json();
const LOCALES = { pt: "pt-BR", en: "en" };
const listeners = new Set();

let current = read("language") ?? (navigator.language.toLowerCase().startsWith("pt") ? "pt" : "en");
if (!(current in tables)) current = "pt";

export const language = () => current;

/** Change the language of the page. */
export function changeLanguage(name) {
  current = name;
  write("language", name);
  translate();
  for (const listener of listeners) listener();
}

/** Call `listener` after each change of the language, for texts that are not in index.html. */
export const onLanguage = (listener) => listeners.add(listener);

/** The text of a key, with `{name}` replaced by its value. `count` selects the singular or the plural. */
export function t(key, values = {}) {
  const forms = tables[current][key];
  const template = typeof forms === "string" ? forms : (forms[plural(values.count)] ?? forms.other);
  return filled(template, values);
}

/** A template with each `{name}` replaced by its value. */
export const filled = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name]);

const plural = (count) => new Intl.PluralRules(LOCALES[current]).select(count);

/** The label of a name that the server uses, such as a step of loading; the name itself if it has no label. */
export const labelOf = (group, name) => tables[current][`${group}.${name}`] ?? name;

/** A number in the format of the language. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(LOCALES[current], { maximumFractionDigits: digits }).format(value);
}

/** A date and time in the format of the language. */
export function dateTime(milliseconds) {
  return new Intl.DateTimeFormat(LOCALES[current], { dateStyle: "short", timeStyle: "short" }).format(milliseconds);
}

/** Set the texts of elements with `data-text`, `data-label` or `data-placeholder`. */
export function translate(root = document) {
  document.documentElement.lang = LOCALES[current];
  for (const each of root.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
  for (const each of root.querySelectorAll("[data-placeholder]")) each.placeholder = t(each.dataset.placeholder);
  for (const each of root.querySelectorAll("[data-label]")) {
    each.setAttribute("aria-label", t(each.dataset.label));
    if (each.localName === "button") each.title = t(each.dataset.label);
  }
}
