"""OpenAI's own client: what there is beside chat completions, by each of the server's prefixes."""

import openai
from report import asked, tell, tell_error

client = openai.OpenAI(base_url=asked["base_url"], api_key="key")
keyed = openai.OpenAI(base_url=asked["base_url"], api_key="key", default_headers={"Authorization": "Key key"})


def chat(client, model):
    messages = [{"role": "user", "content": asked["message"]}]
    return client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=12).model_dump()


completion = {"model": "sabia-3", "prompt": asked["prompt"], "temperature": 0, "max_tokens": 12}
tell("a text", client.completions.create(**completion).model_dump())
tell("a text, streamed", [chunk.choices[0].text for chunk in client.completions.create(stream=True, **completion)])
tell("models", client.models.list().model_dump()["data"])
for model in asked["models"]:
    tell(f"by {model}", chat(client, model))
tell("by a key", chat(keyed, "sabia-3"))
tell_error("no such model", openai.NotFoundError, lambda: chat(client, "gpt-nope"))
