// Escapes text for HTML.

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** HTML that shows this text. */
export const escaped = (text) => text.replace(/[&<>"]/g, (character) => ENTITIES[character]);
