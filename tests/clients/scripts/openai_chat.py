"""OpenAI's own client: chat completions."""

import asyncio

import openai
from report import inputs, report_all, report_error

settings = {"base_url": inputs["base_url"], "api_key": "key"}
client = openai.OpenAI(**settings)
prompt = {"model": "sabia-3", "messages": inputs["messages"], "temperature": 0}


def create(**arguments):
    return client.chat.completions.create(**prompt | arguments)


def chunks(**arguments):
    stream = create(stream=True, stream_options={"include_usage": True}, **arguments)
    return [chunk.model_dump(exclude_unset=True) for chunk in stream]


async def acreate(**arguments):
    async with openai.AsyncOpenAI(**settings) as aclient:
        return await aclient.chat.completions.create(**prompt | arguments)


calls = {
    "plain": lambda: create(max_tokens=12).model_dump(),
    "async": lambda: asyncio.run(acreate(max_tokens=12)).model_dump(),
    "stopped": lambda: create(max_tokens=12, stop=inputs["stops"]).model_dump(),
    "cut": lambda: create(max_tokens=3).model_dump(),
    "streamed": lambda: chunks(max_tokens=12),
    "two": lambda: create(max_tokens=4, n=2, temperature=1, seed=7).model_dump(),
    "logprobs": lambda: create(max_tokens=3, logprobs=True, top_logprobs=2).choices[0].logprobs.model_dump(),
    "form": lambda: create(max_tokens=64, response_format=inputs["form"]).choices[0].message.content,
}
for name, choice in inputs["tool choices"].items():
    called = {"tools": inputs["tools"], "tool_choice": choice, "max_tokens": 96}
    calls[f"a tool, {name}"] = lambda called=called: create(**called).model_dump()
    calls[f"a tool, {name}, streamed"] = lambda called=called: chunks(**called)
report_all(calls)

too_many = inputs["too many"]
report_error("too many tokens", openai.BadRequestError, lambda: create(max_tokens=too_many))
report_error("too many tokens, streamed", openai.BadRequestError, lambda: chunks(max_tokens=too_many))
