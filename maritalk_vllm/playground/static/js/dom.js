// Creates elements. Text is set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (`onclick: f`) and children. Null and false values are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** One of the icons in index.html. */
export function icon(name) {
  const element = document.createElementNS(SVG, "svg");
  element.setAttribute("class", "icon");
  element.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  element.append(use);
  return element;
}

/** A button that shows an icon and has an accessible name. */
export function iconButton(name, label, onclick, attributes = {}) {
  return el("button", { type: "button", class: "quiet", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Replace the children of `parent`, except the first ones that are equal, so that a selection in them is kept. */
export function replaceChanged(parent, nodes) {
  const current = parent.childNodes;
  let same = 0;
  while (same < current.length && same < nodes.length && current[same].isEqualNode(nodes[same])) same += 1;
  while (current.length > same) parent.lastChild.remove();
  parent.append(...nodes.slice(same));
}

/** The element of index.html with this id. */
export const byId = (id) => document.getElementById(id);
