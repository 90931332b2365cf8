// The language that the page is shown in, and its sentences: strings.json has them all.

import { read, write } from "./storage.js";

const tables = await (await fetch(new URL("../strings.json", import.meta.url))).json();
const LOCALES = { pt: "pt-BR", en: "en" };
const listeners = new Set();

let current = read("language") ?? (navigator.language.toLowerCase().startsWith("pt") ? "pt" : "en");
if (!(current in tables)) current = "pt";

export const language = () => current;

/** Show the page in another language. */
export function changeLanguage(name) {
  current = name;
  write("language", name);
  translate();
  for (const listener of listeners) listener();
}

/** Call at each change, for what was not written into index.html. */
export const onLanguage = (listener) => listeners.add(listener);

/** A sentence, with `{name}` replaced by what is given. Where it has a singular and a plural, `count` selects one. */
export function t(key, values = {}) {
  const forms = tables[current][key];
  const sentence = typeof forms === "string" ? forms : (forms[plural(values.count)] ?? forms.other);
  return filled(sentence, values);
}

/** A template with `{name}` replaced by what is given. */
export const filled = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name]);

const plural = (count) => new Intl.PluralRules(LOCALES[current]).select(count);

/** A sentence for what the server says by a name of its own, such as a step of loading; that name if there is none. */
export const told = (group, name) => tables[current][`${group}.${name}`] ?? name;

/** A number as this language writes it. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(LOCALES[current], { maximumFractionDigits: digits }).format(value);
}

/** A date and a time as this language writes them. */
export function moment(milliseconds) {
  return new Intl.DateTimeFormat(LOCALES[current], { dateStyle: "short", timeStyle: "short" }).format(milliseconds);
}

/** Fill in all that index.html leaves open: `data-text`, `data-label`, `data-placeholder`. */
export function translate(root = document) {
  document.documentElement.lang = LOCALES[current];
  for (const each of root.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
  for (const each of root.querySelectorAll("[data-placeholder]")) each.placeholder = t(each.dataset.placeholder);
  for (const each of root.querySelectorAll("[data-label]")) {
    each.setAttribute("aria-label", t(each.dataset.label));
    if (each.localName === "button") each.title = t(each.dataset.label);
  }
}
