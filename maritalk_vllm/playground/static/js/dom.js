// Making elements. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (`onclick: f`) and children; what is null or false is left out. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** One of the drawings in index.html. */
export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  made.append(use);
  return made;
}

/** A button that shows a drawing and tells its name. */
export function iconButton(name, label, onclick, attributes = {}) {
  return el("button", { type: "button", class: "quiet", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Make these the nodes in `parent`, and leave those at its beginning alone that are the same: one may be reading them. */
export function replaceChanged(parent, nodes) {
  const there = parent.childNodes;
  let same = 0;
  while (same < there.length && same < nodes.length && there[same].isEqualNode(nodes[same])) same += 1;
  while (there.length > same) parent.lastChild.remove();
  parent.append(...nodes.slice(same));
}

/** The element of index.html with this id. */
export const byId = (id) => document.getElementById(id);
