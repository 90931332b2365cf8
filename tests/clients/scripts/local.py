"""MariTalkLocal since 0.1.6: `generate` takes a message or a conversation, `generate_raw` completes a text."""

import maritalk
from idle import when_idle
from report import inputs, report

client = maritalk.MariTalkLocal(port=inputs["port"])
settings = {"max_tokens": 12, "do_sample": False}

report("status", when_idle(client.status))
report("a text", client.generate_raw(inputs["prompt"], **settings))
report("a text, stopped", client.generate_raw(inputs["prompt"], stop_sequences=inputs["stops"], **settings))
report("a text, with a seed", client.generate_raw(inputs["prompt"], max_tokens=12, temperature=3.0, seed=7))
report("a message", client.generate(inputs["message"], **settings))
report("a conversation", client.generate(inputs["messages"], **settings))
# These versions return the server's error instead of raising it.
report("too many tokens", client.generate_raw(inputs["prompt"], max_tokens=inputs["too many"]))
report("too many tokens for a conversation", client.generate(inputs["messages"], max_tokens=inputs["too many"]))
