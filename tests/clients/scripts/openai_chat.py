"""OpenAI's own client: chat completions."""

import asyncio

import openai
from report import inputs, report, report_error

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


report("plain", create(max_tokens=12).model_dump())
report("async", asyncio.run(acreate(max_tokens=12)).model_dump())
report("stopped", create(max_tokens=12, stop=inputs["stops"]).model_dump())
report("cut", create(max_tokens=3).model_dump())
report("streamed", chunks(max_tokens=12))
report("two", create(max_tokens=4, n=2, temperature=1, seed=7).model_dump())
report("logprobs", create(max_tokens=3, logprobs=True, top_logprobs=2).choices[0].logprobs.model_dump())
report("form", create(max_tokens=64, response_format=inputs["form"]).choices[0].message.content)

for name, choice in inputs["tool choices"].items():
    report(f"a tool, {name}", create(tools=inputs["tools"], tool_choice=choice, max_tokens=96).model_dump())
    report(f"a tool, {name}, streamed", chunks(tools=inputs["tools"], tool_choice=choice, max_tokens=96))

too_many = inputs["too many"]
report_error("too many tokens", openai.BadRequestError, lambda: create(max_tokens=too_many))
report_error("too many tokens, streamed", openai.BadRequestError, lambda: chunks(max_tokens=too_many))
