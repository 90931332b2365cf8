"""MariTalk's streams (since 0.2.0): each is read by a generator and by an async generator."""

import asyncio
from functools import partial

import maritalk
from maritalk.resources.api import MaritalkHTTPError
from report import inputs, report_all, report_error

client = maritalk.MariTalk(**inputs["client"])
unknown_model = maritalk.MariTalk(**inputs["client"] | {"model": "gpt-nope"})


def stream(client, **call):
    return list(client.generate(stream=True, **call))


async def astream(**call):
    return [frame async for frame in client.generate(stream=True, return_async_generator=True, **call)]


report_all({name: partial(stream, client, **call) for name, call in inputs["calls"].items()})
report_all({f"{name}, async": lambda call=call: asyncio.run(astream(**call)) for name, call in inputs["calls"].items()})

too_many = inputs["too many tokens"]
report_error("too many tokens", MaritalkHTTPError, lambda: stream(client, **too_many))
# The async generator wraps httpx's exception without the body of the response.
report_error("too many tokens, async", Exception, lambda: asyncio.run(astream(**too_many)))
report_error("no such model", MaritalkHTTPError, lambda: stream(unknown_model, messages="Oi!"))
