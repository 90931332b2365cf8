// Announcements for screen readers: whole sentences, never single tokens.

import { byId } from "./dom.js";

/** Announce a sentence after the announcement in progress. */
export function announce(sentence) {
  const region = byId("announcer");
  // A screen reader repeats an equal sentence only if the region was empty in between.
  region.textContent = "";
  setTimeout(() => (region.textContent = sentence), 50);
}
