// The view of batches: files of requests that the server processes when it is idle. Shown if the server supports them.

import { announce } from "./announce.js";
import {
  cancelBatch,
  deleteFile,
  download,
  FINAL_STATUSES,
  newestBatches,
  newestFiles,
  startBatch,
  submitFile,
  supportsBatches,
} from "./batch_api.js";
import { batchRow, fileRow, showRows } from "./batch_rows.js";
import { RequestError } from "./client.js";
import { byId } from "./dom.js";
import { declined } from "./key.js";
import { labelOf, onLanguage, t } from "./language.js";
import { confirmed } from "./question.js";

/** Event: `supported`, once the server has responded that it has files and batches. */
export class Batches extends EventTarget {
  #view = byId("batches");
  #supported = null;
  #refreshing = false;
  #batches = [];
  #files = [];
  #statuses = new Map();

  constructor(server) {
    super();
    server.addEventListener("update", () => server.phase === "ready" && this.#poll());
    addEventListener("hashchange", () => this.#poll());
    byId("choose-file").addEventListener("click", () => byId("batch-file").click());
    byId("batch-file").addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      this.#submit(files);
    });
    for (const type of ["dragover", "dragleave", "drop"]) this.#view.addEventListener(type, (event) => this.#drag(event));
    onLanguage(() => this.#show());
  }

  /** Request whether the server supports batches until it responds, and the lists while this view is shown. */
  async #poll() {
    if (this.#refreshing || declined || this.#supported === false || (this.#supported && this.#view.hidden)) return;
    this.#refreshing = true;
    try {
      if (this.#supported === null) await this.#detectSupport();
      if (this.#supported && !this.#view.hidden) await this.#refresh();
    } catch {
      // The next poll repeats the request; the banner shows whether the server is unreachable.
    } finally {
      this.#refreshing = false;
    }
  }

  async #detectSupport() {
    this.#supported = await supportsBatches();
    if (!this.#supported) return;
    byId("batches-link").hidden = false;
    this.dispatchEvent(new Event("supported"));
  }

  async #refresh() {
    [this.#batches, this.#files] = await Promise.all([newestBatches(), newestFiles()]);
    this.#show();
    for (const batch of this.#batches) {
      const before = this.#statuses.get(batch.id);
      if (before && before !== batch.status && FINAL_STATUSES.includes(batch.status)) {
        announce(`${this.#name(batch)}: ${labelOf("batch_status", batch.status)}`);
      }
      this.#statuses.set(batch.id, batch.status);
    }
  }

  #show() {
    const actions = {
      cancel: (batch) => this.#cancel(batch),
      download: (id, name) => this.#attempt(() => download(id, name)),
      remove: (file) => this.#remove(file),
      start: (file) => this.#attempt(() => startBatch(file.id)),
    };
    showRows(byId("batch-rows"), this.#batches.map((batch) => batchRow(batch, this.#name(batch), actions)));
    showRows(byId("file-rows"), this.#files.map((file) => fileRow(file, actions)));
    byId("no-batches").hidden = this.#batches.length > 0;
    byId("no-files").hidden = this.#files.length > 0;
  }

  #name(batch) {
    return this.#files.find((file) => file.id === batch.input_file_id)?.filename ?? batch.id;
  }

  #drag(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    this.#view.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop") this.#submit([...event.dataTransfer.files]);
  }

  async #submit(files) {
    byId("choose-file").disabled = true;
    for (const file of files) {
      byId("uploading-name").textContent = t("batches.uploading", { name: file.name });
      byId("uploading").hidden = false;
      if (!(await this.#attempt(() => submitFile(file)))) break;
      announce(t("batches.started", { name: file.name }));
    }
    byId("uploading").hidden = true;
    byId("choose-file").disabled = false;
  }

  async #cancel(batch) {
    const title = t("batches.cancel.title", { name: this.#name(batch) });
    if (await confirmed(title, t("batches.cancel"))) await this.#attempt(() => cancelBatch(batch.id));
  }

  async #remove(file) {
    const title = t("files.delete.title", { name: file.filename });
    if (await confirmed(title, t("sidebar.delete"))) await this.#attempt(() => deleteFile(file.id));
  }

  /** Run an action, show the new lists or the error, and return whether the action succeeded. */
  async #attempt(act) {
    byId("batches-error").textContent = "";
    try {
      await act();
      await this.#refresh();
      return true;
    } catch (error) {
      byId("batches-error").textContent = error instanceof RequestError ? error.message : String(error);
      return false;
    }
  }
}
