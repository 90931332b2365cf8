// A small menu beside the button that opens it.

import { byId, el, icon } from "./dom.js";

const GAP_PIXELS = 6;

/** Open it. Each item is `{icon, label, act, danger}`. */
export function openMenu(button, items) {
  const menu = byId("menu");
  const close = () => {
    menu.hidePopover();
    button.focus();
  };
  menu.replaceChildren(
    ...items.map(({ icon: name, label, act, danger }) => {
      const chosen = () => {
        close();
        act();
      };
      const attributes = { type: "button", role: "menuitem", class: danger ? "danger" : "", onclick: chosen };
      return el("button", attributes, icon(name), el("span", {}, label));
    }),
  );
  menu.onkeydown = (event) => move(menu, event);
  menu.ontoggle = (event) => button.setAttribute("aria-expanded", String(event.newState === "open"));
  menu.showPopover();
  place(menu, button.getBoundingClientRect());
  menu.firstElementChild.focus();
}

function place(menu, beside) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(beside.left, innerWidth - width - GAP_PIXELS);
  const below = beside.bottom + GAP_PIXELS;
  const top = below + height > innerHeight ? beside.top - height - GAP_PIXELS : below;
  menu.style.left = `${Math.max(GAP_PIXELS, left)}px`;
  menu.style.top = `${Math.max(GAP_PIXELS, top)}px`;
}

function move(menu, event) {
  const items = [...menu.children];
  const now = items.indexOf(document.activeElement);
  const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (to === undefined) return;
  event.preventDefault();
  items[(to + items.length) % items.length].focus();
}
