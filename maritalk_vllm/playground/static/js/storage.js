// The page's values in the browser's local storage.

const PREFIX = "maritalk.";

/** The stored value of a name; `fallback` if there is none, or it is not JSON. */
export function read(name, fallback = null) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/** Store a value; false if the local storage is full or disabled. */
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
    // The local storage is disabled, so that nothing is stored.
  }
}

/** The stored names that start with a prefix. */
export function namesWithPrefix(prefix) {
  try {
    const all = Array.from({ length: localStorage.length }, (_, index) => localStorage.key(index));
    return all.filter((name) => name.startsWith(PREFIX + prefix)).map((name) => name.slice(PREFIX.length));
  } catch {
    return [];
  }
}

/** Call `listener` with a name when another tab has changed its value. */
export function onRemoteChange(listener) {
  addEventListener("storage", (event) => {
    if (event.key?.startsWith(PREFIX)) listener(event.key.slice(PREFIX.length));
  });
}
