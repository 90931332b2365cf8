// A dialog that asks for a text or a confirmation.

import { byId } from "./dom.js";
import { t } from "./language.js";

/** Ask for a text; null if the user cancels. */
export function askText(title, value) {
  return question({ title, value, confirmLabel: t("save") });
}

/** Whether the user confirms an action that cannot be undone. */
export async function confirmed(title, confirmLabel) {
  return (await question({ title, confirmLabel, danger: true })) !== null;
}

async function question({ title, value, confirmLabel, danger = false }) {
  const dialog = byId("question-dialog");
  const input = byId("question-input");
  const confirm = byId("question-confirm");
  byId("question-title").textContent = title;
  input.hidden = value === undefined;
  input.value = value ?? "";
  confirm.textContent = confirmLabel;
  confirm.classList.toggle("danger", danger);
  dialog.returnValue = "";
  dialog.showModal();
  (input.hidden ? confirm : input).focus();
  input.select();
  await new Promise((resolve) => {
    dialog.onclose = resolve;
    byId("question-cancel").onclick = () => dialog.close();
    byId("question-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close("confirmed");
    };
  });
  return dialog.returnValue === "confirmed" ? input.value.trim() : null;
}
