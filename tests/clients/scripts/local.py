"""MariTalkLocal from 0.1.6 on: `generate` takes a message or a conversation, `generate_raw` goes on with a text."""

import maritalk
from idle import when_idle
from report import asked, tell

client = maritalk.MariTalkLocal(port=asked["port"])
settings = {"max_tokens": 12, "do_sample": False}

tell("status", when_idle(client.status))
tell("a text", client.generate_raw(asked["prompt"], **settings))
tell("a text, stopped", client.generate_raw(asked["prompt"], stop_sequences=asked["stops"], **settings))
tell("a text, with a seed", client.generate_raw(asked["prompt"], max_tokens=12, temperature=3.0, seed=7))
tell("a message", client.generate(asked["message"], **settings))
tell("a conversation", client.generate(asked["messages"], **settings))
# An error is no exception here: the client hands on what the server said.
tell("too many tokens", client.generate_raw(asked["prompt"], max_tokens=asked["too many"]))
tell("too many tokens for a conversation", client.generate(asked["messages"], max_tokens=asked["too many"]))
