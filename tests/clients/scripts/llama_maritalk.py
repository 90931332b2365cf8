"""Maritalk of llama-index-llms-maritalk, whose address is fixed."""

import asyncio

from llama_index.core.llms import ChatMessage
from llama_index.llms.maritalk import Maritalk
from llama_index.llms.maritalk.base import MaritalkHTTPError
from report import asked, tell, tell_error


def model(max_tokens=12):
    return Maritalk(api_key="key", do_sample=False, max_tokens=max_tokens)


async def deltas(stream):
    return [response.delta async for response in await stream]


for name, call in asked["calls"].items():
    messages = [ChatMessage(**message) for message in call["messages"]]
    stop = {"stopping_tokens": call["stopping_tokens"]}
    answer = model().chat(messages, **stop)
    tell(f"{name}, chat", answer.message.content)
    tell(f"{name}, as it came", answer.raw)
    tell(f"{name}, achat", asyncio.run(model().achat(messages, **stop)).message.content)
    tell(f"{name}, stream_chat", [response.delta for response in model().stream_chat(messages, **stop)])
    tell(f"{name}, astream_chat", asyncio.run(deltas(model().astream_chat(messages, **stop))))

message = asked["message"]
tell("a message, complete", model().complete(message).text)
tell("a message, acomplete", asyncio.run(model().acomplete(message)).text)
tell("a message, stream_complete", [response.delta for response in model().stream_complete(message)])
tell("a message, astream_complete", asyncio.run(deltas(model().astream_complete(message))))

messages = [ChatMessage(role="user", content=message)]
endless = model(asked["too many"])
tell_error("too many tokens, chat", MaritalkHTTPError, lambda: endless.chat(messages))
tell_error("too many tokens, achat", MaritalkHTTPError, lambda: asyncio.run(endless.achat(messages)))
tell_error("too many tokens, stream_chat", MaritalkHTTPError, lambda: list(endless.stream_chat(messages)))
