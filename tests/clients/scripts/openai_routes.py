"""OpenAI's own client: the routes besides chat completions, by each of the server's prefixes."""

from functools import partial

import openai
from report import inputs, report, report_all, report_error

client = openai.OpenAI(base_url=inputs["base_url"], api_key="key")
keyed = openai.OpenAI(base_url=inputs["base_url"], api_key="key", default_headers={"Authorization": "Key key"})


def chat(client, model):
    messages = [{"role": "user", "content": inputs["message"]}]
    return client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=12).model_dump()


completion = {"model": "sabia-3", "prompt": inputs["prompt"], "temperature": 0, "max_tokens": 12}
report("a text", client.completions.create(**completion).model_dump())
report("a text, streamed", [chunk.choices[0].text for chunk in client.completions.create(stream=True, **completion)])
report("models", client.models.list().model_dump()["data"])
report_all({f"by {model}": partial(chat, client, model) for model in inputs["models"]})
report("by a key", chat(keyed, "sabia-3"))
report_error("no such model", openai.NotFoundError, lambda: chat(client, "gpt-nope"))
