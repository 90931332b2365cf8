// The light or dark theme: the system's until the user selects another. early.js applies it before the first paint.

import { byId } from "./dom.js";
import { read, write } from "./storage.js";

const systemDark = matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (read("theme") ?? (systemDark.matches ? "dark" : "light")) === "dark";

/** Connect the button that changes the theme. */
export function initTheme() {
  const button = byId("theme");
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    write("theme", next);
    document.documentElement.dataset.theme = next;
    show();
  });
  systemDark.addEventListener("change", show);
  show();
}
