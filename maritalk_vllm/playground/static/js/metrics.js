// Reads the metrics that the page shows from Prometheus' text format.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;

/** Every sample: its name, its labels as text, its value. */
export function samples(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
    if (name) found.push({ name, labels, value: Number(value) });
  }
  return found;
}

/** The figures of the status bar. `cache` is the mean of all engines, from 0 to 1; a missing metric is null. */
export function figures(text) {
  const all = samples(text);
  const values = (name) => all.filter((each) => each.name === name).map((each) => each.value);
  const sum = (name) => (values(name).length ? values(name).reduce((one, other) => one + other) : null);
  const cache = values("vllm:kv_cache_usage_perc");
  const state = all.find((each) => each.name === "maritalk_server_state" && each.value === 1);
  return {
    state: /"(\w+)"/.exec(state?.labels ?? "")?.[1] ?? null,
    running: sum("vllm:num_requests_running"),
    waiting: sum("vllm:num_requests_waiting"),
    cache: cache.length ? sum("vllm:kv_cache_usage_perc") / cache.length : null,
    tokens: sum("vllm:generation_tokens_total"),
  };
}
