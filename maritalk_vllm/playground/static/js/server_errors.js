// The server's errors in the page's language: over HTTP they are English sentences.

import { filled, language } from "./language.js";

const PLACE = /\\\{(\w+)\\\}/g;
const SPECIAL = /[\\^$.*+?()[\]{}|/]/g;

const table = await (await fetch(new URL("../server_errors.json", import.meta.url))).json();
const templates = Object.entries(table).map(([english, translations]) => ({
  pattern: new RegExp(`^${english.replace(SPECIAL, "\\$&").replace(PLACE, "(?<$1>.+?)")}(?: |$)`),
  translations,
}));

/** An error with each sentence that is known in the page's language; the others as they are. */
export function translated(error) {
  const said = [];
  for (let rest = error; rest; ) {
    const [found, sentence] = match(rest);
    said.push(sentence);
    rest = rest.slice(found.length);
  }
  return said.join(" ");
}

/** The beginning of a text that is one sentence, and that sentence in the page's language. */
function match(text) {
  for (const { pattern, translations } of templates) {
    const found = pattern.exec(text);
    if (found && language() in translations) return [found[0], filled(translations[language()], found.groups ?? {})];
  }
  return [text, text];
}
