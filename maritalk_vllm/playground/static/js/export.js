// A conversation as a file.

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

function save({ title }, ending, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const name = title.normalize("NFKD").replace(/[^\w -]/g, "").trim().replace(/\s+/g, "-").toLowerCase();
  el("a", { href: url, download: `${name || "maritalk"}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
