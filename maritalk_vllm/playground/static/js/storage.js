// What the page keeps in this browser, and nowhere else.

const PREFIX = "maritalk.";

/** What was kept under a name; `otherwise` if nothing readable is there. */
export function read(name, otherwise = null) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keep a value; false if the browser has no room for it, or lets nothing be kept. */
export function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function remove(name) {
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // Then nothing was kept either.
  }
}

/** The names that begin so. */
export function names(beginning) {
  try {
    const all = Array.from({ length: localStorage.length }, (_, number) => localStorage.key(number));
    return all.filter((name) => name.startsWith(PREFIX + beginning)).map((name) => name.slice(PREFIX.length));
  } catch {
    return [];
  }
}

/** Call with a name when another window has changed what is kept under it. */
export function onOtherWindow(listener) {
  addEventListener("storage", (event) => {
    if (event.key?.startsWith(PREFIX)) listener(event.key.slice(PREFIX.length));
  });
}
