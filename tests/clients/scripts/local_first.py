"""MariTalkLocal as it was until 0.1.5: `generate` goes on with a text, and a conversation has a method of its own."""

import maritalk
import requests
from idle import when_idle
from report import asked, tell, tell_error

client = maritalk.MariTalkLocal(port=asked["port"])
settings = {"max_tokens": 12, "do_sample": False}

tell("status", when_idle(client.status))
tell("a text", client.generate(asked["prompt"], **settings))
tell("a text, stopped", client.generate(asked["prompt"], stop_sequences=asked["stops"], **settings))
tell("a conversation", client.generate_chat(asked["messages"], **settings))
tell_error(
    "too many tokens", requests.HTTPError, lambda: client.generate(asked["prompt"], max_tokens=asked["too many"])
)
# This client doesn't look at what it is given: the list goes out as the prompt.
tell_error("a list as a text", requests.HTTPError, lambda: client.generate(asked["messages"]))
