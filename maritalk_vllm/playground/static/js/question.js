// A dialog with one question.

import { byId } from "./dom.js";
import { t } from "./language.js";

/** Ask for a text; null if none was given. */
export function askText(title, value) {
  return question({ title, value, answer: t("save") });
}

/** Ask whether to do what cannot be undone. */
export async function confirmed(title, answer) {
  return (await question({ title, answer, danger: true })) !== null;
}

async function question({ title, value, answer, danger = false }) {
  const dialog = byId("question-dialog");
  const input = byId("question-input");
  const yes = byId("question-yes");
  byId("question-title").textContent = title;
  input.hidden = value === undefined;
  input.value = value ?? "";
  yes.textContent = answer;
  yes.classList.toggle("danger", danger);
  dialog.returnValue = "";
  dialog.showModal();
  (input.hidden ? yes : input).focus();
  input.select();
  await new Promise((resolve) => {
    dialog.onclose = resolve;
    byId("question-no").onclick = () => dialog.close();
    byId("question-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close("yes");
    };
  });
  return dialog.returnValue === "yes" ? input.value.trim() : null;
}
