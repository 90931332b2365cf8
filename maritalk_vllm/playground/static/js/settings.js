// How answers are chosen: the fields that the API takes beside the prompt, with its own defaults.

import { read, write } from "./storage.js";

/** `least` and `most` are what the API takes; `optional` fields may be left open. */
export const FIELDS = [
  { name: "do_sample", kind: "switch", standard: true },
  { name: "temperature", kind: "number", standard: 0.7, least: 0, step: 0.1 },
  { name: "top_p", kind: "number", standard: 0.95, least: 0.01, most: 1, step: 0.05 },
  { name: "top_k", kind: "integer", standard: null, least: -1, optional: true },
  { name: "repetition_penalty", kind: "number", standard: null, least: 0.01, most: 100, step: 0.05, optional: true },
  { name: "max_tokens", kind: "integer", standard: 512, least: 1 },
  { name: "stop_sequences", kind: "lines", standard: [] },
  { name: "seed", kind: "integer", standard: null, optional: true },
  { name: "n", kind: "integer", standard: 1, least: 1, most: 128 },
];

const STANDARD = Object.fromEntries(FIELDS.map(({ name, standard }) => [name, standard]));

/** The settings of one view. Event: `change`. */
export class Settings extends EventTarget {
  #name;
  values;

  constructor(name) {
    super();
    this.#name = `settings.${name}`;
    this.values = { ...STANDARD, ...read(this.#name, {}) };
  }

  set(changed) {
    this.values = { ...this.values, ...changed };
    write(this.#name, this.values);
    this.dispatchEvent(new Event("change"));
  }

  reset() {
    this.set(STANDARD);
  }

  /** As the API takes them. */
  get body() {
    return { ...this.values };
  }
}

/** What was typed into a field, as the API takes it; undefined if it would not. */
export function parsed(field, text) {
  if (field.kind === "lines") return text.split("\n").filter((line) => line !== "").map(unescaped);
  const trimmed = text.trim().replace(",", ".");
  if (trimmed === "") return field.optional ? null : undefined;
  const value = Number(trimmed);
  const whole = field.kind !== "integer" || Number.isSafeInteger(value);
  const fits = value >= (field.least ?? -Infinity) && value <= (field.most ?? Infinity);
  return Number.isFinite(value) && whole && fits ? value : undefined;
}

/** A value as it is typed. */
export function written(field, value) {
  if (field.kind === "lines") return value.map((each) => each.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")).join("\n");
  return value === null ? "" : String(value);
}

/** A line in which `\n` stands for the end of one. */
const unescaped = (line) => line.replace(/\\(n|\\)/g, (_, sign) => (sign === "n" ? "\n" : "\\"));
