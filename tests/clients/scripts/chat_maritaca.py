"""ChatMaritaca of langchain-maritaca, with its default model and another address."""

import asyncio

import httpx
from langchain_maritaca import ChatMaritaca
from report import asked, tell, tell_error


def chat(max_tokens):
    # A temperature of 0 goes out as 1e-08.
    return ChatMaritaca(base_url=asked["base_url"], api_key="key", temperature=0, max_tokens=max_tokens)


async def both(model, messages, stop):
    """In one event loop, since the client keeps its connections."""
    answer = await model.ainvoke(messages, stop=stop)
    return answer.content, [chunk.content async for chunk in model.astream(messages, stop=stop)]


for name, call in asked["calls"].items():
    messages, stop = [(turn["role"], turn["content"]) for turn in call["messages"]], call["stop"]
    answer = chat(12).invoke(messages, stop=stop)
    tell(f"{name}, invoke", answer.content)
    tell(f"{name}, usage", answer.usage_metadata)
    tell(f"{name}, stream", [chunk.content for chunk in chat(12).stream(messages, stop=stop)])
    answer, pieces = asyncio.run(both(chat(12), messages, stop))
    tell(f"{name}, ainvoke", answer)
    tell(f"{name}, astream", pieces)

message, tool = asked["message"], asked["tool"]
named = {"type": "function", "function": {"name": tool["function"]["name"]}}
for name, choice in {"required": "required", "named": named}.items():
    tell(f"a tool, {name}", chat(96).bind_tools([tool], tool_choice=choice).invoke(message).tool_calls)
tell("a form", chat(96).with_structured_output(tool).invoke(message))
tell("json", chat(96).with_structured_output({}, method="json_mode").invoke(asked["json"]))

tell_error("too many tokens, invoke", httpx.HTTPStatusError, lambda: chat(asked["too many"]).invoke(message))
tell_error("too many tokens, stream", httpx.HTTPStatusError, lambda: list(chat(asked["too many"]).stream(message)))
