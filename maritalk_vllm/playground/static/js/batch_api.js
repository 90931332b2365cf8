// Client of the server's routes for files and batches, which are OpenAI's.

import { errorMessage, request, RequestError } from "./client.js";
import { saveBlob } from "./export.js";
import { t } from "./language.js";

const LIST_LIMIT = 50;
const NOT_SUPPORTED = [404, 405, 501];
export const FINAL_STATUSES = ["completed", "failed", "expired", "cancelled"];

/** Whether this server has files and batches; null after any other error status. */
export async function supportsBatches() {
  const { ok, status } = await request("v1/batches?limit=1");
  return ok || (NOT_SUPPORTED.includes(status) ? false : null);
}

export const newestBatches = async () => (await requestJson(`v1/batches?limit=${LIST_LIMIT}`)).data;
export const newestFiles = async () => (await requestJson(`v1/files?limit=${LIST_LIMIT}`)).data;
export const cancelBatch = (id) => requestJson(`v1/batches/${encodeURIComponent(id)}/cancel`, { method: "POST" });
export const deleteFile = (id) => requestJson(`v1/files/${encodeURIComponent(id)}`, { method: "DELETE" });

/** Upload a file of requests and create a batch for the route of its first request. */
export async function submitFile(file) {
  const endpoint = await endpointOf(file.stream());
  const form = new FormData();
  form.append("purpose", "batch");
  form.append("file", file);
  const { id } = await requestJson("v1/files", { method: "POST", body: form });
  return createBatch(id, endpoint);
}

/** Create a batch from a file on the server. */
export async function startBatch(id) {
  return createBatch(id, await endpointOf((await content(id)).body));
}

/** Download a file from the server. */
export async function download(id, name) {
  saveBlob(await (await content(id)).blob(), name);
}

function createBatch(id, endpoint) {
  return requestJson("v1/batches", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ input_file_id: id, endpoint, completion_window: "24h" }),
  });
}

/** The route of the first request in a stream of JSONL. Reads the first line only. */
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
  throw new RequestError(t("batches.no_requests"));
}

async function content(id) {
  return checked(await request(`v1/files/${encodeURIComponent(id)}/content`));
}

async function requestJson(path, options) {
  return (await checked(await request(path, options))).json();
}

async function checked(response) {
  if (!response.ok) throw new RequestError(await errorMessage(response), response.status);
  return response;
}
