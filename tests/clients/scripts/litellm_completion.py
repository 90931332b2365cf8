"""litellm, with its provider for OpenAI-compatible servers and its provider for Maritaca."""

import asyncio
from functools import partial

import litellm
from report import inputs, report, report_error, run_all

litellm.suppress_debug_info = True  # it would be printed between the reports


def settings(model, max_tokens=12):
    where = {"api_base": inputs["base_url"], "api_key": "key"}
    return {"model": model, "messages": inputs["messages"], "temperature": 0, "max_tokens": max_tokens} | where


def stream(model):
    return [chunk.choices[0].delta.content for chunk in litellm.completion(stream=True, **settings(model))]


for model in inputs["models"]:
    calls = {
        "plain": lambda model=model: litellm.completion(**settings(model)),
        "async": lambda model=model: asyncio.run(litellm.acompletion(**settings(model))),
        "stream": partial(stream, model),
    }
    answers = run_all(calls)
    report(f"{model}, plain", answers["plain"].choices[0].message.content)
    report(f"{model}, usage", answers["plain"].usage.model_dump())
    report(f"{model}, async", answers["async"].choices[0].message.content)
    report(f"{model}, stream", answers["stream"])
    too_many = partial(litellm.completion, **settings(model, inputs["too many"]))
    report_error(f"{model}, too many tokens", litellm.BadRequestError, too_many)
