"""ChatMaritalk of langchain-community, whose address is fixed."""

import asyncio

from langchain_community.chat_models.maritalk import ChatMaritalk, MaritalkHTTPError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from report import inputs, report, report_error

KINDS = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


def chat(max_tokens=12):
    return ChatMaritalk(api_key="key", model="sabia-2-medium", do_sample=False, max_tokens=max_tokens)


async def astream(messages, stop):
    return [chunk.content async for chunk in chat().astream(messages, stop=stop)]


for name, call in inputs["calls"].items():
    messages = [KINDS[message["role"]](message["content"]) for message in call["messages"]]
    stop = call["stopping_tokens"]
    report(f"{name}, invoke", chat().invoke(messages, stop=stop).content)
    report(f"{name}, ainvoke", asyncio.run(chat().ainvoke(messages, stop=stop)).content)
    report(f"{name}, stream", [chunk.content for chunk in chat().stream(messages, stop=stop)])
    report(f"{name}, astream", asyncio.run(astream(messages, stop)))

endless, message = chat(inputs["too many"]), inputs["message"]
report_error("too many tokens, invoke", MaritalkHTTPError, lambda: endless.invoke(message))
report_error("too many tokens, ainvoke", MaritalkHTTPError, lambda: asyncio.run(endless.ainvoke(message)))
report_error("too many tokens, stream", MaritalkHTTPError, lambda: list(endless.stream(message)))
