"""litellm, by its way to any server that speaks OpenAI's API and by its own way to Maritaca's."""

import asyncio
from functools import partial

import litellm
from report import asked, tell, tell_error

litellm.suppress_debug_info = True  # it would be printed among what is told


def settings(model, max_tokens=12):
    where = {"api_base": asked["base_url"], "api_key": "key"}
    return {"model": model, "messages": asked["messages"], "temperature": 0, "max_tokens": max_tokens} | where


for model in asked["models"]:
    answer = litellm.completion(**settings(model))
    tell(f"{model}, plain", answer.choices[0].message.content)
    tell(f"{model}, usage", answer.usage.model_dump())
    answer = asyncio.run(litellm.acompletion(**settings(model)))
    tell(f"{model}, async", answer.choices[0].message.content)
    chunks = litellm.completion(stream=True, **settings(model))
    tell(f"{model}, stream", [chunk.choices[0].delta.content for chunk in chunks])
    too_many = partial(litellm.completion, **settings(model, asked["too many"]))
    tell_error(f"{model}, too many tokens", litellm.BadRequestError, too_many)
