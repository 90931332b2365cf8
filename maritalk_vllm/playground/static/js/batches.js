// The third view: files of requests, which the server processes when it has time. Shown if the server has them.

import { announce } from "./announce.js";
import { areOffered, cancelBatch, deleteFile, download, FINAL, newestBatches, newestFiles, startBatch, submitFile } from "./batch_api.js";
import { batchRow, fileRow, showRows } from "./batch_rows.js";
import { Failure } from "./client.js";
import { byId } from "./dom.js";
import { declined } from "./key.js";
import { onLanguage, t, told } from "./language.js";
import { confirmed } from "./question.js";

/** Event: `offered`, once it is known that the server has files and batches. */
export class Batches extends EventTarget {
  #view = byId("batches");
  #offered = null;
  #asking = false;
  #batches = [];
  #files = [];
  #statuses = new Map();

  constructor(server) {
    super();
    server.addEventListener("news", () => server.phase === "ready" && this.#look());
    addEventListener("hashchange", () => this.#look());
    byId("choose-file").addEventListener("click", () => byId("batch-file").click());
    byId("batch-file").addEventListener("change", ({ target }) => {
      const files = [...target.files];
      target.value = "";
      this.#submit(files);
    });
    for (const type of ["dragover", "dragleave", "drop"]) this.#view.addEventListener(type, (event) => this.#drag(event));
    onLanguage(() => this.#show());
  }

  /** Ask whether there are batches until that is known, and for what there is while this view is shown. */
  async #look() {
    if (this.#asking || declined || this.#offered === false || (this.#offered && this.#view.hidden)) return;
    this.#asking = true;
    try {
      if (this.#offered === null) await this.#offer();
      if (this.#offered && !this.#view.hidden) await this.#refresh();
    } catch {
      // It is asked for again soon; the banner says whether the server is gone.
    } finally {
      this.#asking = false;
    }
  }

  async #offer() {
    this.#offered = await areOffered();
    if (!this.#offered) return;
    byId("batches-link").hidden = false;
    this.dispatchEvent(new Event("offered"));
  }

  async #refresh() {
    [this.#batches, this.#files] = await Promise.all([newestBatches(), newestFiles()]);
    this.#show();
    for (const batch of this.#batches) {
      const before = this.#statuses.get(batch.id);
      if (before && before !== batch.status && FINAL.includes(batch.status)) {
        announce(`${this.#name(batch)}: ${told("batch_status", batch.status)}`);
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

  /** Do something, show what comes of it or why it failed, and return whether it succeeded. */
  async #attempt(act) {
    byId("batches-error").textContent = "";
    try {
      await act();
      await this.#refresh();
      return true;
    } catch (error) {
      byId("batches-error").textContent = error instanceof Failure ? error.message : String(error);
      return false;
    }
  }
}
