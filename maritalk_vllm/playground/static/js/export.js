// Saves conversations and other content as files.

import { el } from "./dom.js";
import { dateTime, t } from "./language.js";

/** Save a conversation as JSON: messages in the API's format, with the figures of each answer. */
export function exportJson(conversation) {
  const { title, created, updated, system, messages } = conversation;
  const exported = messages.map(({ role, content, figures, stopped, error }) => ({ role, content, figures, stopped, error }));
  const times = { created: new Date(created).toISOString(), updated: new Date(updated).toISOString() };
  const turns = system ? [{ role: "system", content: system }, ...exported] : exported;
  save(conversation, "json", "application/json", `${JSON.stringify({ title, ...times, messages: turns }, null, 2)}\n`);
}

/** Save a conversation as Markdown. */
export function exportMarkdown(conversation) {
  const { title, created, system, messages } = conversation;
  const parts = [`# ${title}`, dateTime(created)];
  if (system) parts.push(`> ${system.replaceAll("\n", "\n> ")}`);
  for (const { role, content } of messages) {
    parts.push(`## ${t(role === "user" ? "message.yours" : "message.answer")}`, content);
  }
  save(conversation, "md", "text/markdown", `${parts.join("\n\n")}\n`);
}

/** Save a file in the browser's download folder. */
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function save({ title }, extension, type, text) {
  const name = title.normalize("NFKD").replace(/[^\w -]/g, "").trim().replace(/\s+/g, "-").toLowerCase();
  saveBlob(new Blob([text], { type }), `${name || "maritalk"}.${extension}`);
}
