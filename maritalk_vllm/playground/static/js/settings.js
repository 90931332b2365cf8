// The sampling settings: the API's fields other than the prompt, with its defaults.

import { read, write } from "./storage.js";

/** `min` and `max` are the API's limits, inclusive; `optional` fields may be empty. */
export const FIELDS = [
  { name: "do_sample", kind: "switch", default: true },
  { name: "temperature", kind: "number", default: 0.7, min: 0, step: 0.1 },
  { name: "top_p", kind: "number", default: 0.95, min: 0.01, max: 1, step: 0.05 },
  { name: "top_k", kind: "integer", default: null, min: -1, optional: true },
  { name: "repetition_penalty", kind: "number", default: null, min: 0.01, max: 100, step: 0.05, optional: true },
  { name: "max_tokens", kind: "integer", default: 512, min: 1 },
  { name: "stop_sequences", kind: "lines", default: [] },
  { name: "seed", kind: "integer", default: null, optional: true },
  { name: "n", kind: "integer", default: 1, min: 1, max: 128 },
];

const DEFAULTS = Object.fromEntries(FIELDS.map(({ name, default: value }) => [name, value]));

/** The settings of one view. Event: `change`. */
export class Settings extends EventTarget {
  #name;
  values;

  constructor(name) {
    super();
    this.#name = `settings.${name}`;
    this.values = { ...DEFAULTS, ...read(this.#name, {}) };
  }

  set(changed) {
    this.values = { ...this.values, ...changed };
    write(this.#name, this.values);
    this.dispatchEvent(new Event("change"));
  }

  reset() {
    this.set(DEFAULTS);
  }

  /** The fields of a request. */
  get body() {
    return { ...this.values };
  }
}

/** The value of a field's text; undefined if the API would reject it. */
export function parseValue(field, text) {
  if (field.kind === "lines") return text.split("\n").filter((line) => line !== "").map(unescaped);
  const trimmed = text.trim().replace(",", ".");
  if (trimmed === "") return field.optional ? null : undefined;
  const value = Number(trimmed);
  const isWhole = field.kind !== "integer" || Number.isSafeInteger(value);
  const isInRange = value >= (field.min ?? -Infinity) && value <= (field.max ?? Infinity);
  return Number.isFinite(value) && isWhole && isInRange ? value : undefined;
}

/** The text of a field's value. */
export function formatValue(field, value) {
  if (field.kind === "lines") return value.map((each) => each.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")).join("\n");
  return value === null ? "" : String(value);
}

/** A line with the escapes `\n` and `\\` replaced. */
const unescaped = (line) => line.replace(/\\(n|\\)/g, (_, character) => (character === "n" ? "\n" : "\\"));
