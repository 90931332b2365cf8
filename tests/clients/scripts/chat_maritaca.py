"""ChatMaritaca of langchain-maritaca, with its default model and another address."""

import asyncio
from functools import partial

import httpx
from langchain_maritaca import ChatMaritaca
from report import inputs, report, report_all, report_error, run_all


def chat(max_tokens):
    # The client sends a temperature of 0 as 1e-08.
    return ChatMaritaca(base_url=inputs["base_url"], api_key="key", temperature=0, max_tokens=max_tokens)


async def both(model, messages, stop):
    """Run both in one event loop, since the client reuses its connections."""
    answer = await model.ainvoke(messages, stop=stop)
    return answer.content, [chunk.content async for chunk in model.astream(messages, stop=stop)]


def converse(call):
    messages, stop = [(turn["role"], turn["content"]) for turn in call["messages"]], call["stop"]
    return run_all(
        {
            "invoke": lambda: chat(12).invoke(messages, stop=stop),
            "stream": lambda: [chunk.content for chunk in chat(12).stream(messages, stop=stop)],
            "both": lambda: asyncio.run(both(chat(12), messages, stop)),
        }
    )


conversations = run_all({name: partial(converse, call) for name, call in inputs["calls"].items()})
for name, answers in conversations.items():
    report(f"{name}, invoke", answers["invoke"].content)
    report(f"{name}, usage", answers["invoke"].usage_metadata)
    report(f"{name}, stream", answers["stream"])
    report(f"{name}, ainvoke", answers["both"][0])
    report(f"{name}, astream", answers["both"][1])

calls = {}
message, tool = inputs["message"], inputs["tool"]
named = {"type": "function", "function": {"name": tool["function"]["name"]}}
for name, choice in {"required": "required", "named": named}.items():
    bound = chat(96).bind_tools([tool], tool_choice=choice)
    calls[f"a tool, {name}"] = lambda bound=bound: bound.invoke(message).tool_calls
calls["a form"] = lambda: chat(96).with_structured_output(tool).invoke(message)
calls["json"] = lambda: chat(96).with_structured_output({}, method="json_mode").invoke(inputs["json"])
report_all(calls)

report_error("too many tokens, invoke", httpx.HTTPStatusError, lambda: chat(inputs["too many"]).invoke(message))
report_error("too many tokens, stream", httpx.HTTPStatusError, lambda: list(chat(inputs["too many"]).stream(message)))
