// What a screen reader says: whole sentences, when there is something to say, never a token.

import { byId } from "./dom.js";

/** Say this when the reader is done with what it says now. */
export function announce(sentence) {
  const region = byId("announcer");
  // The same sentence twice is said twice only if the region was empty in between.
  region.textContent = "";
  setTimeout(() => (region.textContent = sentence), 50);
}
