"""litellm, with its provider for OpenAI-compatible servers and its provider for Maritaca."""

import asyncio
from functools import partial

import litellm
from report import inputs, report, report_error

litellm.suppress_debug_info = True  # it would be printed between the reports


def settings(model, max_tokens=12):
    where = {"api_base": inputs["base_url"], "api_key": "key"}
    return {"model": model, "messages": inputs["messages"], "temperature": 0, "max_tokens": max_tokens} | where


for model in inputs["models"]:
    answer = litellm.completion(**settings(model))
    report(f"{model}, plain", answer.choices[0].message.content)
    report(f"{model}, usage", answer.usage.model_dump())
    answer = asyncio.run(litellm.acompletion(**settings(model)))
    report(f"{model}, async", answer.choices[0].message.content)
    chunks = litellm.completion(stream=True, **settings(model))
    report(f"{model}, stream", [chunk.choices[0].delta.content for chunk in chunks])
    too_many = partial(litellm.completion, **settings(model, inputs["too many"]))
    report_error(f"{model}, too many tokens", litellm.BadRequestError, too_many)
