"""Anthropic's own client with vLLM's Messages API."""

import anthropic
from report import inputs, report, report_error

client = anthropic.Anthropic(base_url=inputs["base_url"], api_key="key")
prompt = {"model": "sabia-3", "system": inputs["system"], "messages": inputs["messages"]}
# This version has no argument for the temperature.
greedy = {**prompt, "extra_body": {"temperature": 0}}

for name, stops in {"plain": [], "stopped": inputs["stops"]}.items():
    report(name, client.messages.create(max_tokens=12, stop_sequences=stops, **greedy).model_dump())
    with client.messages.stream(max_tokens=12, stop_sequences=stops, **greedy) as stream:
        report(f"{name}, in pieces", list(stream.text_stream))
        report(f"{name}, streamed", stream.get_final_message().model_dump())
report("cut", client.messages.create(max_tokens=3, **greedy).stop_reason)
report("tokens", client.messages.count_tokens(**prompt).input_tokens)

too_many = inputs["too many"]
report_error(
    "too many tokens", anthropic.BadRequestError, lambda: client.messages.create(max_tokens=too_many, **prompt)
)
unknown = {**prompt, "model": "gpt-nope"}
report_error("no such model", anthropic.NotFoundError, lambda: client.messages.create(max_tokens=1, **unknown))
