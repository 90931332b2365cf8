// The model that is served, told in the head of the page.

import { ask } from "./client.js";
import { byId } from "./dom.js";
import { declined } from "./key.js";
import { number, onLanguage, t } from "./language.js";

/** Ask for it when the server is ready, once more each time that it is. */
export function beginModel(server) {
  let model = null;
  const show = () => {
    byId("model").textContent = model ? model.id : "";
    byId("model").title = model ? t("model.context", { tokens: number(model.context_length ?? model.max_model_len) }) : "";
  };
  server.addEventListener("news", async () => {
    if (server.phase !== "ready") model = null;
    if (model || server.phase !== "ready" || declined) return;
    try {
      const answer = await ask("v1/models");
      if (answer.ok) [model] = (await answer.json()).data;
    } catch {
      // It is asked for again soon.
    }
    show();
  });
  onLanguage(show);
}
