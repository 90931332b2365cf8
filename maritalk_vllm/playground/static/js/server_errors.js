// Translates the server's errors, which are English over HTTP, into the page's language.

import { filled, language } from "./language.js";

const PLACEHOLDER = /\\\{(\w+)\\\}/g;
const SPECIAL = /[\\^$.*+?()[\]{}|/]/g;

const table = await (await fetch(new URL("../server_errors.json", import.meta.url))).json();
const templates = Object.entries(table).map(([english, translations]) => ({
  pattern: new RegExp(`^${english.replace(SPECIAL, "\\$&").replace(PLACEHOLDER, "(?<$1>.+?)")}(?: |$)`),
  translations,
}));

/** An error with each known sentence translated; other text is unchanged. */
export function translated(error) {
  const sentences = [];
  for (let rest = error; rest; ) {
    const [matched, sentence] = match(rest);
    sentences.push(sentence);
    rest = rest.slice(matched.length);
  }
  return sentences.join(" ");
}

/** The first known sentence of a text, and its translation; the whole text twice if it starts with no known sentence. */
function match(text) {
  for (const { pattern, translations } of templates) {
    const found = pattern.exec(text);
    if (found && language() in translations) return [found[0], filled(translations[language()], found.groups ?? {})];
  }
  return [text, text];
}
