"""Anthropic's own client: vLLM speaks its Messages API as well."""

import anthropic
from report import asked, tell, tell_error

client = anthropic.Anthropic(base_url=asked["base_url"], api_key="key")
prompt = {"model": "sabia-3", "system": asked["system"], "messages": asked["messages"]}
# This client has no argument for the temperature any more.
greedy = {**prompt, "extra_body": {"temperature": 0}}

for name, stops in {"plain": [], "stopped": asked["stops"]}.items():
    tell(name, client.messages.create(max_tokens=12, stop_sequences=stops, **greedy).model_dump())
    with client.messages.stream(max_tokens=12, stop_sequences=stops, **greedy) as stream:
        tell(f"{name}, in pieces", list(stream.text_stream))
        tell(f"{name}, streamed", stream.get_final_message().model_dump())
tell("cut", client.messages.create(max_tokens=3, **greedy).stop_reason)
tell("tokens", client.messages.count_tokens(**prompt).input_tokens)

too_many = asked["too many"]
tell_error("too many tokens", anthropic.BadRequestError, lambda: client.messages.create(max_tokens=too_many, **prompt))
unknown = {**prompt, "model": "gpt-nope"}
tell_error("no such model", anthropic.NotFoundError, lambda: client.messages.create(max_tokens=1, **unknown))
