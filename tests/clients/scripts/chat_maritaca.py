"""ChatMaritaca of langchain-maritaca, with its default model and another address."""

import asyncio

import httpx
from langchain_maritaca import ChatMaritaca
from report import inputs, report, report_error


def chat(max_tokens):
    # The client sends a temperature of 0 as 1e-08.
    return ChatMaritaca(base_url=inputs["base_url"], api_key="key", temperature=0, max_tokens=max_tokens)


async def both(model, messages, stop):
    """Run both in one event loop, since the client reuses its connections."""
    answer = await model.ainvoke(messages, stop=stop)
    return answer.content, [chunk.content async for chunk in model.astream(messages, stop=stop)]


for name, call in inputs["calls"].items():
    messages, stop = [(turn["role"], turn["content"]) for turn in call["messages"]], call["stop"]
    answer = chat(12).invoke(messages, stop=stop)
    report(f"{name}, invoke", answer.content)
    report(f"{name}, usage", answer.usage_metadata)
    report(f"{name}, stream", [chunk.content for chunk in chat(12).stream(messages, stop=stop)])
    answer, pieces = asyncio.run(both(chat(12), messages, stop))
    report(f"{name}, ainvoke", answer)
    report(f"{name}, astream", pieces)

message, tool = inputs["message"], inputs["tool"]
named = {"type": "function", "function": {"name": tool["function"]["name"]}}
for name, choice in {"required": "required", "named": named}.items():
    report(f"a tool, {name}", chat(96).bind_tools([tool], tool_choice=choice).invoke(message).tool_calls)
report("a form", chat(96).with_structured_output(tool).invoke(message))
report("json", chat(96).with_structured_output({}, method="json_mode").invoke(inputs["json"]))

report_error("too many tokens, invoke", httpx.HTTPStatusError, lambda: chat(inputs["too many"]).invoke(message))
report_error("too many tokens, stream", httpx.HTTPStatusError, lambda: list(chat(inputs["too many"]).stream(message)))
