"""OpenAI's own client: chat completions."""

import asyncio

import openai
from report import asked, tell, tell_error

settings = {"base_url": asked["base_url"], "api_key": "key"}
client = openai.OpenAI(**settings)
prompt = {"model": "sabia-3", "messages": asked["messages"], "temperature": 0}


def create(**arguments):
    return client.chat.completions.create(**prompt | arguments)


def chunks(**arguments):
    stream = create(stream=True, stream_options={"include_usage": True}, **arguments)
    return [chunk.model_dump(exclude_unset=True) for chunk in stream]


async def acreate(**arguments):
    async with openai.AsyncOpenAI(**settings) as aclient:
        return await aclient.chat.completions.create(**prompt | arguments)


tell("plain", create(max_tokens=12).model_dump())
tell("async", asyncio.run(acreate(max_tokens=12)).model_dump())
tell("stopped", create(max_tokens=12, stop=asked["stops"]).model_dump())
tell("cut", create(max_tokens=3).model_dump())
tell("streamed", chunks(max_tokens=12))
tell("two", create(max_tokens=4, n=2, temperature=1, seed=7).model_dump())
tell("logprobs", create(max_tokens=3, logprobs=True, top_logprobs=2).choices[0].logprobs.model_dump())
tell("form", create(max_tokens=64, response_format=asked["form"]).choices[0].message.content)

for name, choice in asked["tool choices"].items():
    tell(f"a tool, {name}", create(tools=asked["tools"], tool_choice=choice, max_tokens=96).model_dump())
    tell(f"a tool, {name}, streamed", chunks(tools=asked["tools"], tool_choice=choice, max_tokens=96))

too_many = asked["too many"]
tell_error("too many tokens", openai.BadRequestError, lambda: create(max_tokens=too_many))
tell_error("too many tokens, streamed", openai.BadRequestError, lambda: chunks(max_tokens=too_many))
