// A menu beside the button that opens it.

import { byId, el, icon } from "./dom.js";

const GAP_PIXELS = 6;

/** Open the menu. Each item is `{icon, label, act, danger}`. */
export function openMenu(button, items) {
  const menu = byId("menu");
  const close = () => {
    menu.hidePopover();
    button.focus();
  };
  menu.replaceChildren(
    ...items.map(({ icon: name, label, act, danger }) => {
      const select = () => {
        close();
        act();
      };
      const attributes = { type: "button", role: "menuitem", class: danger ? "danger" : "", onclick: select };
      return el("button", attributes, icon(name), el("span", {}, label));
    }),
  );
  menu.onkeydown = (event) => moveFocus(menu, event);
  menu.ontoggle = (event) => button.setAttribute("aria-expanded", String(event.newState === "open"));
  menu.showPopover();
  position(menu, button.getBoundingClientRect());
  menu.firstElementChild.focus();
}

function position(menu, anchor) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(anchor.left, innerWidth - width - GAP_PIXELS);
  const below = anchor.bottom + GAP_PIXELS;
  const top = below + height > innerHeight ? anchor.top - height - GAP_PIXELS : below;
  menu.style.left = `${Math.max(GAP_PIXELS, left)}px`;
  menu.style.top = `${Math.max(GAP_PIXELS, top)}px`;
}

function moveFocus(menu, event) {
  const items = [...menu.children];
  const current = items.indexOf(document.activeElement);
  const next = { ArrowDown: current + 1, ArrowUp: current - 1, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Tab") menu.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  items[(next + items.length) % items.length].focus();
}
