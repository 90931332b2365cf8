"""Maritalk of llama-index-llms-maritalk, whose address is fixed."""

import asyncio

from llama_index.core.llms import ChatMessage
from llama_index.llms.maritalk import Maritalk
from llama_index.llms.maritalk.base import MaritalkHTTPError
from report import inputs, report, report_error


def model(max_tokens=12):
    return Maritalk(api_key="key", do_sample=False, max_tokens=max_tokens)


async def deltas(stream):
    return [response.delta async for response in await stream]


for name, call in inputs["calls"].items():
    messages = [ChatMessage(**message) for message in call["messages"]]
    stop = {"stopping_tokens": call["stopping_tokens"]}
    answer = model().chat(messages, **stop)
    report(f"{name}, chat", answer.message.content)
    report(f"{name}, as it came", answer.raw)
    report(f"{name}, achat", asyncio.run(model().achat(messages, **stop)).message.content)
    report(f"{name}, stream_chat", [response.delta for response in model().stream_chat(messages, **stop)])
    report(f"{name}, astream_chat", asyncio.run(deltas(model().astream_chat(messages, **stop))))

message = inputs["message"]
report("a message, complete", model().complete(message).text)
report("a message, acomplete", asyncio.run(model().acomplete(message)).text)
report("a message, stream_complete", [response.delta for response in model().stream_complete(message)])
report("a message, astream_complete", asyncio.run(deltas(model().astream_complete(message))))

messages = [ChatMessage(role="user", content=message)]
endless = model(inputs["too many"])
report_error("too many tokens, chat", MaritalkHTTPError, lambda: endless.chat(messages))
report_error("too many tokens, achat", MaritalkHTTPError, lambda: asyncio.run(endless.achat(messages)))
report_error("too many tokens, stream_chat", MaritalkHTTPError, lambda: list(endless.stream_chat(messages)))
