// The server's files and batches: OpenAI's routes for them.

import { ask, Failure, sentence } from "./client.js";
import { saveBlob } from "./export.js";
import { t } from "./language.js";

const NEWEST = 50;
const NOT_OFFERED = [404, 405, 501];
export const FINAL = ["completed", "failed", "expired", "cancelled"];

/** Whether this server has files and batches; null while that is unknown. */
export async function areOffered() {
  const { ok, status } = await ask("v1/batches?limit=1");
  return ok || (NOT_OFFERED.includes(status) ? false : null);
}

export const newestBatches = async () => (await request(`v1/batches?limit=${NEWEST}`)).data;
export const newestFiles = async () => (await request(`v1/files?limit=${NEWEST}`)).data;
export const cancelBatch = (id) => request(`v1/batches/${encodeURIComponent(id)}/cancel`, { method: "POST" });
export const deleteFile = (id) => request(`v1/files/${encodeURIComponent(id)}`, { method: "DELETE" });

/** Upload a file of requests and start its batch, for the route of its first request. */
export async function submitFile(file) {
  const endpoint = await endpointOf(file.stream());
  const form = new FormData();
  form.append("purpose", "batch");
  form.append("file", file);
  const { id } = await request("v1/files", { method: "POST", body: form });
  return createBatch(id, endpoint);
}

/** Start a batch from a file that the server has. */
export async function startBatch(id) {
  return createBatch(id, await endpointOf((await content(id)).body));
}

/** Save a file of the server in the browser's folder for downloads. */
export async function download(id, name) {
  saveBlob(await (await content(id)).blob(), name);
}

function createBatch(id, endpoint) {
  return request("v1/batches", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ input_file_id: id, endpoint, completion_window: "24h" }),
  });
}

/** The route of the first request in a stream of JSONL, of which no more is read than that. */
async function endpointOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (let end = false; !end && !text.includes("\n"); ) {
      const { value = "", done } = await reader.read();
      text = (text + value).trimStart();
      end = done;
    }
    const { url } = JSON.parse(text.split("\n", 1)[0]);
    if (typeof url === "string") return url;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  } finally {
    await reader.cancel();
  }
  throw new Failure(t("batches.no_requests"));
}

async function content(id) {
  return checked(await ask(`v1/files/${encodeURIComponent(id)}/content`));
}

async function request(path, options) {
  return (await checked(await ask(path, options))).json();
}

async function checked(answer) {
  if (!answer.ok) throw new Failure(await sentence(answer), answer.status);
  return answer;
}
