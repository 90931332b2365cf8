// Text inside HTML.

const SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** HTML that shows this text. */
export const escaped = (text) => text.replace(/[&<>"]/g, (sign) => SIGNS[sign]);
