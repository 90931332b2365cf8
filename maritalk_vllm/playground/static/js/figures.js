// What an answer took, as the engine measured it.

import { facts } from "./facts.js";
import { number, t } from "./language.js";

/** How many of the server's units of time make a second. The server tells: a 0 does not. */
async function unitsPerSecond() {
  return (await facts()).time_unit === "s" ? 1 : 1000;
}

/** The figures of an answer's last event: times in seconds, and tokens. */
export async function figuresOf(end) {
  const units = await unitsPerSecond();
  const { prompt_tokens: promptTokens, completion_tokens: tokens } = end.usage;
  const figures = {
    queue: end.queue_time / units,
    prompt: end.prompt_time / units,
    generation: end.generation_time / units,
    promptTokens,
    tokens,
    reason: end.finish_reason,
  };
  // The first token belongs to the prompt's time.
  if (tokens > 1 && figures.generation > 0) figures.rate = (tokens - 1) / figures.generation;
  return figures;
}

/** A time for people. */
export function duration(seconds) {
  if (seconds < 1) return t("figures.milliseconds", { value: number(seconds * 1000) });
  return t("figures.seconds", { value: number(seconds, 1) });
}

/** All figures in one line. */
export function line(figures) {
  const parts = [
    t("figures.queue", { time: duration(figures.queue) }),
    t("figures.prompt", { time: duration(figures.prompt), ...tokens(figures.promptTokens) }),
    t("figures.generation", { time: duration(figures.generation), ...tokens(figures.tokens) }),
  ];
  if (figures.rate) parts.push(t("figures.rate", { rate: number(figures.rate, figures.rate < 10 ? 1 : 0) }));
  if (figures.reason === "length") parts.push(t("figures.length"));
  return parts;
}

const tokens = (count) => ({ count, tokens: number(count) });
