// The rows of the lists of files and batches.

import { FINAL_STATUSES } from "./batch_api.js";
import { el, icon, iconButton } from "./dom.js";
import { dateTime, labelOf, number, t } from "./language.js";

const MEGABYTE = 1e6;

/** The row of a batch. `name` is that of its input file. `actions`: `cancel(batch)` and `download(file id, name)`. */
export function batchRow(batch, name, actions) {
  const { total, completed, failed } = batch.request_counts;
  const stem = name.replace(/\.jsonl$/, "");
  const results = batch.output_file_id && (() => actions.download(batch.output_file_id, `${stem}-output.jsonl`));
  const errors = batch.error_file_id && (() => actions.download(batch.error_file_id, `${stem}-errors.jsonl`));
  const isFinal = FINAL_STATUSES.includes(batch.status);
  return row(
    batch.id,
    el("div", { class: "row-head" }, title(name, batch.id), status(batch)),
    !isFinal && progressBar(completed + failed, total, name),
    details([
      total ? t("batches.done", { done: number(completed + failed), total: number(total) }) : null,
      failed ? t("batches.failed", { number: number(failed) }) : null,
      batch.endpoint,
      dateTime(1000 * batch.created_at),
    ]),
    ...(batch.errors?.data ?? []).map((error) => el("p", { class: "invalid" }, lineError(error))),
    el(
      "div",
      { class: "row-actions" },
      results && button("download", "results", t("batches.results"), results),
      errors && button("download", "errors", t("batches.errors"), errors),
      !isFinal && batch.status !== "cancelling" && button("stop", "cancel", t("batches.cancel"), () => actions.cancel(batch)),
    ),
  );
}

/** The row of a file. `actions`: `start(file)`, `download(file id, name)` and `remove(file)`. */
export function fileRow(file, actions) {
  const { id, filename: name } = file;
  const action = (iconName, key, label, act) => iconButton(iconName, label, act, { "data-action": key });
  return row(
    id,
    el(
      "div",
      { class: "row-head" },
      title(name, id),
      file.purpose.startsWith("batch") && file.purpose !== "batch_output" && action("send", "start", t("files.start", { name }), () => actions.start(file)),
      action("download", "download", t("files.download", { name }), () => actions.download(id, name)),
      action("trash", "remove", t("files.delete", { name }), () => actions.remove(file)),
    ),
    details([t("files.size", { size: number(file.bytes / MEGABYTE, 2) }), dateTime(1000 * file.created_at)]),
  );
}

/** Show these rows. Equal rows stay in the document. If the row with the focus is replaced, its button keeps the focus. */
export function showRows(list, rows) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const { id } = focused?.closest("li").dataset ?? {};
  const { action } = focused?.dataset ?? {};
  rows.forEach((newRow, index) => {
    const current = list.children[index];
    if (!current) list.append(newRow);
    else if (!current.isEqualNode(newRow)) current.replaceWith(newRow);
  });
  while (list.children.length > rows.length) list.lastElementChild.remove();
  if (focused && !focused.isConnected) {
    list.querySelector(`[data-id="${CSS.escape(id)}"] [data-action="${action}"]`)?.focus();
  }
}

const row = (id, ...children) => el("li", { "data-id": id }, ...children);
const title = (name, id) => el("p", { class: "row-title" }, el("span", {}, name), " ", el("code", {}, id));
const details = (parts) => el("p", { class: "hint" }, parts.filter(Boolean).join(" · "));
const status = ({ status: name }) => el("span", { class: "row-status", "data-status": name }, labelOf("batch_status", name));
const lineError = ({ line, message }) => (line ? t("batches.line", { line: number(line), message }) : message);

function progressBar(done, total, name) {
  const value = total ? { max: total, value: done } : {};
  return el("progress", { ...value, "aria-label": t("batches.progress", { name }) });
}

function button(iconName, key, label, onclick) {
  return el("button", { type: "button", class: "plain", "data-action": key, onclick }, icon(iconName), label);
}
