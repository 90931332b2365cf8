// Times and tokens of an answer, as the engine measured them.

import { number, t } from "./language.js";
import { serverInfo } from "./server_info.js";

/** How many of the API's time units are a second. */
async function unitsPerSecond() {
  return (await serverInfo()).time_unit === "s" ? 1 : 1000;
}

/** The figures in the final event of an answer: times in seconds, and numbers of tokens. */
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
  // The time of the first token is part of the prompt's.
  if (tokens > 1 && figures.generation > 0) figures.rate = (tokens - 1) / figures.generation;
  return figures;
}

/** A duration with its unit, in the page's language. */
export function duration(seconds) {
  if (seconds < 1) return t("figures.milliseconds", { value: number(seconds * 1000) });
  return t("figures.seconds", { value: number(seconds, 1) });
}

/** All figures as texts, which are shown in one line. */
export function figureTexts(figures) {
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
