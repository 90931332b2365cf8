// Files that the browser saves: a conversation, or what the server has.

import { el } from "./dom.js";
import { moment, t } from "./language.js";

/** As the API takes it, with the figures of each answer. */
export function exportJson(conversation) {
  const { title, created, updated, system, messages } = conversation;
  const said = messages.map(({ role, content, figures, stopped, error }) => ({ role, content, figures, stopped, error }));
  const times = { created: new Date(created).toISOString(), updated: new Date(updated).toISOString() };
  const turns = system ? [{ role: "system", content: system }, ...said] : said;
  save(conversation, "json", "application/json", `${JSON.stringify({ title, ...times, messages: turns }, null, 2)}\n`);
}

/** To be read. */
export function exportMarkdown(conversation) {
  const { title, created, system, messages } = conversation;
  const parts = [`# ${title}`, moment(created)];
  if (system) parts.push(`> ${system.replaceAll("\n", "\n> ")}`);
  for (const { role, content } of messages) {
    parts.push(`## ${t(role === "user" ? "message.yours" : "message.answer")}`, content);
  }
  save(conversation, "md", "text/markdown", `${parts.join("\n\n")}\n`);
}

/** Save a file in the browser's folder for downloads. */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function save({ title }, ending, type, text) {
  const name = title.normalize("NFKD").replace(/[^\w -]/g, "").trim().replace(/\s+/g, "-").toLowerCase();
  saveBlob(new Blob([text], { type }), `${name || "maritalk"}.${ending}`);
}
