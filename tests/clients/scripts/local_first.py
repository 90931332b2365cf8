"""MariTalkLocal until 0.1.5: `generate` completes a text, and a conversation has a method of its own."""

import maritalk
import requests
from idle import when_idle
from report import inputs, report, report_error

client = maritalk.MariTalkLocal(port=inputs["port"])
settings = {"max_tokens": 12, "do_sample": False}

report("status", when_idle(client.status))
report("a text", client.generate(inputs["prompt"], **settings))
report("a text, stopped", client.generate(inputs["prompt"], stop_sequences=inputs["stops"], **settings))
report("a conversation", client.generate_chat(inputs["messages"], **settings))
report_error(
    "too many tokens", requests.HTTPError, lambda: client.generate(inputs["prompt"], max_tokens=inputs["too many"])
)
# The client does not check its argument: it sends the list as the prompt.
report_error("a list as a text", requests.HTTPError, lambda: client.generate(inputs["messages"]))
