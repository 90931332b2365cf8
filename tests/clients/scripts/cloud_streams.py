"""MariTalk's streams, which came with 0.2.0: each is read once plainly and once by an async generator."""

import asyncio

import maritalk
from maritalk.resources.api import MaritalkHTTPError
from report import asked, tell, tell_error

client = maritalk.MariTalk(**asked["client"])
stranger = maritalk.MariTalk(**asked["client"] | {"model": "gpt-nope"})


def stream(client, **call):
    return list(client.generate(stream=True, **call))


async def astream(**call):
    return [frame async for frame in client.generate(stream=True, return_async_generator=True, **call)]


for name, call in asked["calls"].items():
    tell(name, stream(client, **call))
    tell(f"{name}, async", asyncio.run(astream(**call)))

too_many = asked["too many tokens"]
tell_error("too many tokens", MaritalkHTTPError, lambda: stream(client, **too_many))
# The async generator wraps what httpx raises, without the body of the answer.
tell_error("too many tokens, async", Exception, lambda: asyncio.run(astream(**too_many)))
tell_error("no such model", MaritalkHTTPError, lambda: stream(stranger, messages="Oi!"))
