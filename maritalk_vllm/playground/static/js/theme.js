// Light or dark: the system's choice until somebody makes another. early.js applies it before anything is drawn.

import { byId } from "./dom.js";
import { read, write } from "./storage.js";

const system = matchMedia("(prefers-color-scheme: dark)");

const isDark = () => (read("theme") ?? (system.matches ? "dark" : "light")) === "dark";

/** Make the switch work. */
export function beginTheme() {
  const button = byId("theme");
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    write("theme", next);
    document.documentElement.dataset.theme = next;
    show();
  });
  system.addEventListener("change", show);
  show();
}
